//! The C bindings in `guest-sdk/c`, which are committed: the output of wit-bindgen for the handlers'
//! worlds of `wit/` and for one that has both, plus a line that includes `exit.h`.

use crate::workspace::{self, Workspace};
use anyhow::{Context, Result, bail};
use socketserver_guest_compilers::component::contract;
use std::fs;
use wit_bindgen_core::Files;

/// The world of a handler that serves both kinds of sockets, which the contract has no name for.
const BOTH_WORLD: &str = "
    package socketserver:both;

    world both-handler {
        include socketserver:handler/stream-handler@0.1.0;
        include socketserver:handler/datagram-handler@0.1.0;
    }
";

/// Generates the bindings of the worlds of handlers.
pub fn write(workspace: &Workspace) -> Result<()> {
    let folder = workspace.sdk("c");
    for (name, content) in generate(workspace)?.iter() {
        let path = folder.join(name);
        workspace::replace(&path, content)?;
        println!("{}", workspace.show(&path));
    }
    Ok(())
}

/// Compares the committed bindings with `wit/`.
///
/// # Errors
///
/// Returns an error if [`write()`] would change a file.
pub fn check(workspace: &Workspace) -> Result<()> {
    let folder = workspace.sdk("c");
    for (name, content) in generate(workspace)?.iter() {
        let path = folder.join(name);
        if !fs::read(&path).is_ok_and(|committed| committed == content) {
            let path = workspace.show(&path);
            bail!(
                "{path} does not match wit/: run `cargo guests --bindings` and commit the result"
            );
        }
    }
    Ok(())
}

fn generate(workspace: &Workspace) -> Result<Files> {
    let (mut resolve, package) = contract(&workspace.wit())?;
    let both = resolve.push_str("both.wit", BOTH_WORLD)?;
    let worlds = [package, both].map(|package| resolve.packages[package].worlds.clone());
    let mut generated = Files::default();
    // The world `client-first` is an addition to one of these.
    let handlers = worlds.into_iter().flatten().filter(|(name, _)| name.ends_with("-handler"));
    for (name, world) in handlers {
        wit_bindgen_c::Opts::default()
            .build()
            .generate(&mut resolve, world, &mut generated)
            .with_context(|| format!("cannot generate the C bindings of the world `{name}`"))?;
    }
    let mut files = Files::default();
    for (name, content) in generated.iter() {
        match name.strip_suffix(".c") {
            Some(world) => files.push(name, &include_exit(world, content)?),
            None => files.push(name, content),
        }
    }
    Ok(files)
}

/// Adds the inclusion of `exit.h` to the code of the bindings of a world.
fn include_exit(world: &str, code: &[u8]) -> Result<Vec<u8>> {
    let code = std::str::from_utf8(code)?;
    let header = format!("#include \"{world}.h\"\n");
    let (before, after) = code
        .split_once(&header)
        .with_context(|| format!("the C bindings do not include `{world}.h`"))?;
    Ok(format!("{before}{header}#include \"exit.h\"\n{after}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_bindings_match_the_contract() {
        check(&Workspace::find().unwrap()).unwrap();
    }
}
