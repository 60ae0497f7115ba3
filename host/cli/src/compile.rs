//! `compile`: the hidden command that compiles a handler. The server starts it in a process of
//! its own, which limits itself and enters the jail before it reads the handler.

use std::io::{Read, stdin, stdout};
use std::mem::ManuallyDrop;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use socketserver_jail::{Descriptors, Jail, Prepared, Role};
use socketserver_sandbox::{Engine, EngineSettings, Functions, InitialData, compile_for_parent};

use crate::options::CompileOptions;

/// The stack of the compiler, in bytes.
const STACK: usize = 8 << 20;
/// The most threads that compile. Each takes address space, which has a limit.
const MAX_THREADS: usize = 4;

/// Compiles standard input to standard output.
///
/// # Errors
///
/// A limit cannot be set, the jail cannot be entered, or the output cannot be written.
pub fn compile(options: &CompileOptions) -> Result<ExitCode> {
    // No other process waits for the result.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot see its parent end")?;
    let settings = EngineSettings {
        bounds_checks: options.bounds_checks,
        initial_data: if options.copy_data { InitialData::Copied } else { InitialData::Mapped },
        ..EngineSettings::default()
    };
    // They come from the parent's cache, which is trusted like the parent.
    let mut functions = Vec::new();
    stdin().lock().take(options.functions).read_to_end(&mut functions).context("cannot read")?;
    let engine = Engine::for_compiling(&settings, Functions::new(functions).into())?;
    let stack = getrlimit(Resource::Stack);
    let current = Some(stack.current.map_or(STACK as u64, |now| now.min(STACK as u64)));
    let limit = Rlimit { current, maximum: stack.maximum };
    setrlimit(Resource::Stack, limit).context("cannot limit its stack")?;
    let jail = Jail {
        address_space: Some(options.memory),
        cpu_seconds: Some(options.seconds),
        ..Jail::new(options.jail)
    };
    // Entering the jail closes a descriptor that dropping it would close again.
    let jail: &Prepared = Box::leak(Box::new(jail.prepare(Role::Compiler)?));
    // Its end would wait for nothing: the process ends first.
    let threads = ManuallyDrop::new(jailed_threads(jail)?);
    // The process has read nothing of the handler yet.
    jail.enter(None, &Descriptors::Except(&[]))?;
    threads.install(|| compile_for_parent(&engine, stdin().lock(), stdout().lock()))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns threads that have entered the jail. In the jail no thread can be started.
fn jailed_threads(jail: &'static Prepared) -> Result<ThreadPool> {
    let processors = available_parallelism().map_or(1, usize::from);
    let (sender, entered) = channel();
    let threads = ThreadPoolBuilder::new()
        .num_threads(processors.min(MAX_THREADS))
        .stack_size(STACK)
        // The first thread ends the process if one has not entered.
        .start_handler(move |_| drop(sender.send(jail.enter_thread())))
        .build()
        .context("cannot start threads")?;
    for _ in 0..threads.current_num_threads() {
        entered.recv().context("a thread has ended")??;
    }
    Ok(threads)
}
