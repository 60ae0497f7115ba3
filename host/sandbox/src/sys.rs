//! The unsafe code of this crate.

use wasmtime::Engine;
use wasmtime::component::Component;

/// Loads an artifact that this program compiled.
///
/// # Safety
///
/// `artifact` must be exactly what `Engine::precompile_component` returned,
/// for an engine with the same settings: it is machine code, and runs as it
/// is.
pub(crate) unsafe fn deserialize(engine: &Engine, artifact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the caller vouches for the artifact.
    unsafe { Component::deserialize(engine, artifact) }
}
