//! From a core module to a component.

use std::path::Path;

use anyhow::{Context, Result};
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{CloneMaps, PackageId, Resolve, WorldId};

/// The imports of a handler that sends files or asks about TLS, which no world of the contract has.
const OPTIONAL_WORLD: &str = "
    package socketserver:optional;

    world optional {
        import socketserver:handler/tls@0.1.0;
        import socketserver:handler/sendfile@0.1.0;
        import wasi:filesystem/preopens@0.2.12;
    }
";

/// Reads the contract in the folder `wit`. Each world also imports what a handler needs that sends
/// files or asks about TLS: a component has the imports that it calls, and no other.
///
/// # Errors
///
/// It cannot be read.
pub fn contract(wit: &Path) -> Result<(Resolve, PackageId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).context("cannot read the contract")?;
    let optional = resolve.push_str("optional.wit", OPTIONAL_WORLD)?;
    let optional = resolve.select_world(&[optional], None)?;
    for world in resolve.packages[package].worlds.clone().into_values() {
        resolve.merge_worlds(optional, world, &mut CloneMaps::default())?;
    }
    Ok((resolve, package))
}

/// Returns the world of a handler that exports each of `worlds`.
///
/// # Errors
///
/// The contract has no such world, or there is none in the list.
pub fn merged(resolve: &mut Resolve, package: PackageId, worlds: &[&str]) -> Result<WorldId> {
    let (first, others) = worlds.split_first().context("the handler exports nothing")?;
    let into = resolve.select_world(&[package], Some(first))?;
    for other in others {
        let from = resolve.select_world(&[package], Some(other))?;
        resolve.merge_worlds(from, into, &mut CloneMaps::default())?;
    }
    Ok(into)
}

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
        .and_then(ComponentEncoder::encode)
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
        .and_then(ComponentEncoder::encode)
        .context("cannot encode it as a component")
}

/// Encodes a core module without a component type as [`encode_with_wasi()`] does.
///
/// # Errors
///
/// The contract cannot be read, or the module does not match it.
pub fn encode_for_worlds(wit: &Path, worlds: &[&str], mut module: Vec<u8>) -> Result<Vec<u8>> {
    let (mut resolve, package) = contract(wit)?;
    let world = merged(&mut resolve, package, worlds)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    encode_with_wasi(&module)
}
