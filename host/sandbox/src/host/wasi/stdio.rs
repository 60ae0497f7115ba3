//! `wasi:cli/stdin`, `stdout` and `stderr`: an empty input, and the log.

use std::sync::Arc;

use wasmtime::component::{Linker, Resource};
use wasmtime::{Result, StoreContextMut};

use crate::host::grants::Grants;
use crate::host::guest_log::Standard;
use crate::host::state::State;

use super::streams::{InputStream, OutputStream};

type Cx<'a> = StoreContextMut<'a, State>;

pub(super) fn add_stdin(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut stdin = linker.instance("wasi:cli/stdin@0.2.0")?;
    stdin.func_wrap("get-stdin", |mut cx: Cx<'_>, ()| {
        Ok((cx.data_mut().table.push(InputStream::Empty)?,))
    })
}

pub(super) fn add_stdout(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut stdout = linker.instance("wasi:cli/stdout@0.2.0")?;
    stdout.func_wrap("get-stdout", |cx: Cx<'_>, ()| Ok((to_log(cx, Standard::Output)?,)))
}

pub(super) fn add_stderr(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut stderr = linker.instance("wasi:cli/stderr@0.2.0")?;
    stderr.func_wrap("get-stderr", |cx: Cx<'_>, ()| Ok((to_log(cx, Standard::Error)?,)))
}

fn to_log(mut cx: Cx<'_>, standard: Standard) -> Result<Resource<OutputStream>> {
    Ok(cx.data_mut().table.push(OutputStream::Log(standard))?)
}
