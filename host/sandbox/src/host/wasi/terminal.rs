//! `wasi:cli/terminal-*`: no stream is a terminal.

use std::sync::Arc;

use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime::{Result, StoreContextMut};

use crate::host::grants::Grants;
use crate::host::state::State;

/// A resource of which no handle exists.
struct TerminalInput;
struct TerminalOutput;

type Cx<'a> = StoreContextMut<'a, State>;

pub(super) fn add_input(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut input = linker.instance("wasi:cli/terminal-input@0.2.0")?;
    input.resource("terminal-input", ResourceType::host::<TerminalInput>(), |_, _| Ok(()))
}

pub(super) fn add_output(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut output = linker.instance("wasi:cli/terminal-output@0.2.0")?;
    output.resource("terminal-output", ResourceType::host::<TerminalOutput>(), |_, _| Ok(()))
}

pub(super) fn add_stdin(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut stdin = linker.instance("wasi:cli/terminal-stdin@0.2.0")?;
    stdin.func_wrap("get-terminal-stdin", none::<TerminalInput>)
}

pub(super) fn add_stdout(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut stdout = linker.instance("wasi:cli/terminal-stdout@0.2.0")?;
    stdout.func_wrap("get-terminal-stdout", none::<TerminalOutput>)
}

pub(super) fn add_stderr(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut stderr = linker.instance("wasi:cli/terminal-stderr@0.2.0")?;
    stderr.func_wrap("get-terminal-stderr", none::<TerminalOutput>)
}

#[allow(clippy::unnecessary_wraps, reason = "the Linker wants it")]
fn none<T: 'static>(_: Cx<'_>, (): ()) -> Result<(Option<Resource<T>>,)> {
    Ok((None,))
}
