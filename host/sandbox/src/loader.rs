//! How components are loaded.

use crate::cache::Cache;
use crate::compiler::Compiler;
use crate::policy::MAX_COMPONENT;

/// How components are loaded: where from, by whom, and how large they may be.
#[derive(Debug, Clone)]
pub struct Loader {
    /// Where compiled components are kept.
    pub cache: Cache,
    /// Where the others are compiled.
    pub compiler: Compiler,
    /// The largest component that is read, in bytes. 256 MiB by default: a
    /// Python handler has 18 MB.
    pub component_size: u64,
}

impl Loader {
    /// One that compiles in this process: for components that are trusted not to
    /// exhaust or crash it.
    pub fn in_process(cache: Cache) -> Self {
        Loader { cache, compiler: Compiler::InProcess, component_size: MAX_COMPONENT }
    }
}
