//! Makes components of core modules, and checks what was made.

use crate::guest::Guest;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{CloneMaps, PackageId, Resolve};

/// The package that the exports of a guest are of, and its imports.
const PACKAGE: &str = "socketserver:handler/";

/// The one import that is of another package, by which a handler ends as
/// Python's do with `SystemExit`.
const EXIT: &str = "wasi:cli/exit@0.2.0";

/// A world that has it.
const EXIT_WORLD: &str = "
    package socketserver:guests;

    world program {
        import wasi:cli/exit@0.2.0;
    }

    package wasi:cli@0.2.0 {
        interface exit {
            exit: func(status: result);
        }
    }
";

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
/// contract and imports nothing else but [`EXIT`].
pub fn check(workspace: &Workspace, guest: &Guest, bytes: &[u8]) -> Result<()> {
    let label = guest.label();
    let decoded = wit_component::decode(bytes)
        .with_context(|| format!("what {label} was built to is not a component"))?;
    let DecodedWasm::Component(types, world) = decoded else {
        bail!("what {label} was built to is a WIT package, not a component");
    };
    for key in types.worlds[world].imports.keys() {
        let import = types.name_world_key(key);
        if !import.starts_with(PACKAGE) && import != EXIT {
            bail!("{label} imports `{import}`; a guest may import `{PACKAGE}*` and `{EXIT}`");
        }
    }

    let (mut resolve, package) = contract(workspace)?;
    let program = resolve.push_str("exit.wit", EXIT_WORLD)?;
    let program = resolve.select_world(&[program], None)?;
    let mut reasons = Vec::new();
    for (name, world) in resolve.packages[package].worlds.clone() {
        resolve.merge_worlds(program, world, &mut CloneMaps::default())?;
        match wit_component::targets(&resolve, world, bytes) {
            Ok(()) => return Ok(()),
            Err(error) => reasons.push(format!("not `{name}`: {error:#}")),
        }
    }
    bail!("{label} targets none of the worlds in wit/worlds.wit; {}", reasons.join("; "))
}
