//! The settings of loading.

use crate::load::cache::Cache;
use crate::load::compiler::Compiler;

/// The settings of loading: the cache, the compiler, and the largest size.
#[derive(Debug, Clone)]
pub struct Loader {
    /// The cache of compiled components.
    pub cache: Cache,
    /// The compiler of components that are not in the cache.
    pub compiler: Compiler,
    /// The largest component that is read, in bytes.
    pub component_size: u64,
}

impl Loader {
    /// The default of [`component_size`](Self::component_size): 256 MiB. A Python handler
    /// has 18 MB.
    pub const DEFAULT_COMPONENT_SIZE: u64 = 256 << 20;

    /// Returns a loader that compiles in this process. It is for components that are trusted
    /// not to exhaust or crash the process.
    pub fn in_process(cache: Cache) -> Self {
        Loader {
            cache,
            compiler: Compiler::InProcess,
            component_size: Loader::DEFAULT_COMPONENT_SIZE,
        }
    }
}
