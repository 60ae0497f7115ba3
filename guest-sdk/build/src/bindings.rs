//! The C bindings in `guest-sdk/c`, which are committed.

use crate::component::contract;
use crate::workspace::{self, Workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use wit_bindgen_core::Files;

/// Writes the bindings of every world of the contract.
pub fn write(workspace: &Workspace) -> Result<()> {
    let folder = workspace.sdk("c");
    for (name, content) in generate(workspace)?.iter() {
        let path = folder.join(name);
        workspace::replace(&path, content)?;
        println!("{}", workspace.show(&path));
    }
    Ok(())
}

/// Fails if [`write()`] would change anything.
pub fn check(workspace: &Workspace) -> Result<()> {
    let folder = workspace.sdk("c");
    for (name, content) in generate(workspace)?.iter() {
        let path = folder.join(name);
        if !fs::read(&path).is_ok_and(|committed| committed == content) {
            let path = workspace.show(&path);
            bail!("{path} is not what wit/ gives: run `cargo guests --bindings` and commit it");
        }
    }
    Ok(())
}

fn generate(workspace: &Workspace) -> Result<Files> {
    let (mut resolve, package) = contract(workspace)?;
    let worlds = resolve.packages[package].worlds.clone();
    let mut files = Files::default();
    for (name, world) in worlds {
        wit_bindgen_c::Opts::default()
            .build()
            .generate(&mut resolve, world, &mut files)
            .with_context(|| format!("cannot make the C bindings of the world `{name}`"))?;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_bindings_are_those_of_the_contract() {
        check(&Workspace::find().unwrap()).unwrap();
    }
}
