//! `wasi:cli/stdout` and `stderr`: the log.

use std::sync::Arc;

use wasmtime::component::{Linker, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{DynOutputStream, OutputStream, StreamResult};

use crate::host::grants::Grants;
use crate::host::guest_log::{SharedLog, Standard};
use crate::host::state::State;

use super::streams::permit;

type Cx<'a> = StoreContextMut<'a, State>;

pub(super) fn add_stdout(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut stdout = linker.instance("wasi:cli/stdout@0.2.0")?;
    stdout.func_wrap("get-stdout", |cx: Cx<'_>, ()| Ok((to_log(cx, Standard::Output)?,)))
}

pub(super) fn add_stderr(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut stderr = linker.instance("wasi:cli/stderr@0.2.0")?;
    stderr.func_wrap("get-stderr", |cx: Cx<'_>, ()| Ok((to_log(cx, Standard::Error)?,)))
}

fn to_log(mut cx: Cx<'_>, standard: Standard) -> Result<Resource<DynOutputStream>> {
    let state = cx.data_mut();
    let log = LogOutput { log: state.log.clone(), standard, permit: permit(state.call_memory) };
    let stream: DynOutputStream = Box::new(log);
    Ok(state.table.push(stream)?)
}

/// A stream of lines for the log.
struct LogOutput {
    log: SharedLog,
    standard: Standard,
    /// The bytes that one call may write.
    permit: usize,
}

/// The log is always ready: it does not wait for its reader.
#[async_trait]
impl Pollable for LogOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for LogOutput {
    fn write(&mut self, data: Bytes) -> StreamResult<()> {
        self.log.lock().write_output(self.standard, &data);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.permit)
    }
}
