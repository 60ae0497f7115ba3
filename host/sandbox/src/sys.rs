//! The unsafe code of this crate.

use wasmtime::Engine;
use wasmtime::component::Component;

/// A compiled component: machine code, which runs as it is.
///
/// One is made by compiling, or by [`of_private_cache`](Self::of_private_cache),
/// and by nothing else.
pub(crate) struct Artifact(Vec<u8>);

impl Artifact {
    /// Compiles a component, given as a binary.
    pub(crate) fn compile(engine: &Engine, binary: &[u8]) -> wasmtime::Result<Self> {
        Ok(Artifact(engine.precompile_component(binary)?))
    }

    /// Takes what `Artifact::compile` once made and the cache has kept. The
    /// caller has made sure of it: the entry lay in a directory, and was a file,
    /// that only the user of this process can write to, its digest is right,
    /// and its name holds the engine's version and settings.
    pub(crate) fn of_private_cache(bytes: Vec<u8>) -> Self {
        Artifact(bytes)
    }

    /// What the cache keeps.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Makes it a component that can be instantiated.
    ///
    /// Errors: it is not of this version of the engine, or needs more than the
    /// engine's pool has.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are what `precompile_component` returned: that is
        // what the two ways to make an `Artifact` are for. That the engine is a
        // fitting one is checked.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}
