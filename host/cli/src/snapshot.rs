//! `snapshot`: the hidden command that loads a program into the memory of a component. A build
//! starts it in a process of its own, because it runs with threads.

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use socketserver_sandbox::{
    Cache, Engine, EngineSettings, compiled_functions, keep_functions, take_snapshot,
};

use crate::options::SnapshotOptions;

/// Runs the component, and writes it with the memory that this leaves.
///
/// # Errors
///
/// The component cannot be read or fails, or the cache cannot be used.
pub fn snapshot(options: SnapshotOptions) -> Result<ExitCode> {
    // Nothing else waits for the result.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot see its parent end")?;
    let SnapshotOptions { component, mut folder, read_only, output } = options;
    folder.extend(read_only);
    let component = fs::read(component).context("cannot read the component")?;
    let (cache, settings) = (Cache::open_user()?, EngineSettings::default());
    let functions = Arc::new(compiled_functions(&cache, &settings)?);
    let engine = Engine::for_compiling(&settings, functions.clone())?;
    let result = take_snapshot(&engine, &cache, &component, folder)?;
    keep_functions(&cache, &engine, &functions, &result)?;
    fs::write(output, result).context("cannot write the component")?;
    Ok(ExitCode::SUCCESS)
}
