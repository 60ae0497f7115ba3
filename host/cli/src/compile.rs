//! `compile`: the hidden command that compiles a handler. The server starts it in a process of
//! its own, which limits itself and enters the jail before it reads the handler.

use std::io::{Read, stdin, stdout};
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use anyhow::{Context, Result};
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use socketserver_jail::{Descriptors, Jail, Role};
use socketserver_sandbox::{Engine, EngineSettings, Functions, compile_for_parent};

use crate::options::CompileOptions;

/// The stack of the compiler, in bytes.
const STACK: u64 = 8 << 20;

/// Compiles standard input to standard output.
///
/// # Errors
///
/// A limit cannot be set, the jail cannot be entered, or the output cannot be written.
pub fn compile(options: &CompileOptions) -> Result<ExitCode> {
    // No other process waits for the result.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot see its parent end")?;
    let settings =
        EngineSettings { bounds_checks: options.bounds_checks, ..EngineSettings::default() };
    // They come from the parent's cache, which is trusted like the parent.
    let mut functions = Vec::new();
    stdin().lock().take(options.functions).read_to_end(&mut functions).context("cannot read")?;
    let engine = Engine::for_compiling(&settings, Functions::new(functions).into())?;
    let stack = getrlimit(Resource::Stack);
    let current = Some(stack.current.map_or(STACK, |now| now.min(STACK)));
    let limit = Rlimit { current, maximum: stack.maximum };
    setrlimit(Resource::Stack, limit).context("cannot limit its stack")?;
    let jail = Jail {
        address_space: Some(options.memory),
        cpu_seconds: Some(options.seconds),
        ..Jail::new(options.jail)
    };
    // Entering the jail closes a descriptor that this value would close again.
    let jail = ManuallyDrop::new(jail.prepare(Role::Compiler)?);
    // The process has read nothing of the handler yet.
    jail.enter(None, &Descriptors::Except(&[]))?;
    compile_for_parent(&engine, stdin().lock(), stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}
