//! From a core module to a component.

use anyhow::{Context, Result};
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER;
use wit_component::ComponentEncoder;

/// Encodes a core module as a component. The module has its component type in a custom
/// section, which the bindings of wit-bindgen write.
///
/// # Errors
///
/// The module imports something else than the contract, or has no component type.
pub fn encode(module: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .context("cannot encode a component that imports only `socketserver:handler/*`")
}

/// Encodes a core module as [`encode()`] does, and replaces its imports of WASI's first
/// preview by imports of `wasi:*`.
///
/// # Errors
///
/// The module imports something else, or has no component type.
pub fn encode_with_wasi(module: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", ADAPTER))
        .and_then(|mut encoder| encoder.encode())
        .context("cannot encode it as a component")
}
