//! Makes components of core modules, and checks what was made.

use crate::guest::Guest;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{PackageId, Resolve};

/// The package that every import and export of a guest is of.
const PACKAGE: &str = "socketserver:handler/";

/// The contract.
pub fn contract(workspace: &Workspace) -> Result<(Resolve, PackageId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(workspace.wit()).context("cannot read wit/")?;
    Ok((resolve, package))
}

/// Makes a component of a core module that carries its component type in a
/// custom section, as the bindings of wit-bindgen leave it there.
pub fn encode(module: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(ComponentEncoder::encode)
        .with_context(|| format!("cannot make a component that imports nothing but `{PACKAGE}*`"))
}

/// Fails unless `bytes` is a component that targets one of the worlds of the
/// contract and imports nothing else.
pub fn check(workspace: &Workspace, guest: &Guest, bytes: &[u8]) -> Result<()> {
    let label = guest.label();
    let decoded = wit_component::decode(bytes)
        .with_context(|| format!("what {label} was built to is not a component"))?;
    let DecodedWasm::Component(types, world) = decoded else {
        bail!("what {label} was built to is a WIT package, not a component");
    };
    for key in types.worlds[world].imports.keys() {
        let import = types.name_world_key(key);
        if !import.starts_with(PACKAGE) {
            bail!("{label} imports `{import}`; a guest may import nothing but `{PACKAGE}*`");
        }
    }

    let (resolve, package) = contract(workspace)?;
    let mut reasons = Vec::new();
    for (name, world) in &resolve.packages[package].worlds {
        match wit_component::targets(&resolve, *world, bytes) {
            Ok(()) => return Ok(()),
            Err(error) => reasons.push(format!("not `{name}`: {error:#}")),
        }
    }
    bail!("{label} targets none of the worlds in wit/worlds.wit; {}", reasons.join("; "))
}
