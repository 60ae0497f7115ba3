//! `compile`: what this program does in the process that it starts for a handler
//! to be compiled in. It is not for people: `--help` does not show it.

use std::io::{stdin, stdout};
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use socketserver_jail::{Descriptors, Jail, JailMode, Role};
use socketserver_sandbox::{BoundsChecks, compile_for_parent};

use crate::loading::Loading;

/// How much stack compiling may take, in bytes.
const STACK: u64 = 8 << 20;

/// What it may use, and for which engine it compiles.
#[derive(Debug, Clone, Args)]
pub struct CompileOptions {
    /// Bytes of address space.
    #[arg(long)]
    memory: u64,
    /// Seconds of CPU time.
    #[arg(long)]
    seconds: u64,
    /// The bounds checks of the engine.
    #[arg(long)]
    bounds_checks: BoundsChecks,
    /// Whether there must be all of the jail.
    #[arg(long)]
    jail: JailMode,
}

/// Compiles standard input to standard output.
pub fn compile(options: &CompileOptions) -> Result<ExitCode> {
    // Whoever asked is the only one who waits.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot see its parent end")?;
    let engine = Loading::engine_for(options.bounds_checks)?;
    let least = |now: Option<u64>| now.map_or(STACK, |now| now.min(STACK));
    let stack = getrlimit(Resource::Stack);
    let stack = Rlimit { current: Some(least(stack.current)), maximum: stack.maximum };
    setrlimit(Resource::Stack, stack).context("cannot limit its stack")?;
    let jail = Jail {
        address_space: Some(options.memory),
        cpu_seconds: Some(options.seconds),
        ..Jail::new(options.jail)
    };
    // Entering closes a descriptor of its own.
    let jail = ManuallyDrop::new(jail.prepare(Role::Compiler)?);
    // Nothing of the component has been read yet.
    jail.enter(None, &Descriptors::Except(&[]))?;
    compile_for_parent(&engine, stdin().lock(), stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}
