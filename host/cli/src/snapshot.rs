//! `snapshot` and `precompile`: the hidden commands that load a program into the memory of a
//! component, and compile the result. A build starts them in processes of their own, because they
//! run with threads.

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use socketserver_sandbox::{
    Cache, Engine, EngineSettings, Functions, compiled_functions, keep_compiled, keep_functions,
    take_snapshot,
};

use crate::options::{PrecompileOptions, SnapshotOptions};

/// Runs the component, and writes it with the memory that this leaves.
///
/// # Errors
///
/// The component cannot be read or fails, or the cache cannot be used.
pub fn snapshot(options: SnapshotOptions) -> Result<ExitCode> {
    let SnapshotOptions { component, mut folder, read_only, output } = options;
    folder.extend(read_only);
    let component = fs::read(component).context("cannot read the component")?;
    let Tool { cache, functions, engine } = Tool::new()?;
    let result = take_snapshot(&engine, &cache, &component, folder)?;
    keep_functions(&cache, &engine, &functions, &result)?;
    fs::write(output, result).context("cannot write the component")?;
    Ok(ExitCode::SUCCESS)
}

/// Puts the component of a program into the cache, compiled. It may write the component with a
/// larger memory.
///
/// # Errors
///
/// The component cannot be read or compiled, or the cache cannot be used.
pub fn precompile(options: &PrecompileOptions) -> Result<ExitCode> {
    let component = fs::read(&options.component).context("cannot read the component")?;
    let Tool { cache, engine, .. } = Tool::new()?;
    let result = keep_compiled(&cache, &engine, component)?;
    fs::write(&options.component, result).context("cannot write the component")?;
    Ok(ExitCode::SUCCESS)
}

/// The compiler in a process of its own.
struct Tool {
    cache: Cache,
    functions: Arc<Functions>,
    engine: Engine,
}

impl Tool {
    fn new() -> Result<Self> {
        // Nothing else waits for the result.
        set_parent_process_death_signal(Some(Signal::KILL)).context("cannot see its parent end")?;
        let (cache, settings) = (Cache::open_user()?, EngineSettings::default());
        let functions = Arc::new(compiled_functions(&cache, &settings)?);
        let engine = Engine::for_compiling(&settings, functions.clone())?;
        Ok(Tool { cache, functions, engine })
    }
}
