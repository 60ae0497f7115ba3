//! `wasi:io/streams` and `wasi:io/error`, as `wasmtime-wasi-io` has them. The bytes that a
//! guest writes are counted before they are copied.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::sync::Arc;

use wasmtime::component::{Linker, Resource, ResourceTable, ResourceType, WasmList};
use wasmtime::{Result, StoreContextMut, bail};
use wasmtime_wasi_io::bindings::wasi::io::error::HostError;
use wasmtime_wasi_io::bindings::wasi::io::streams::{
    Host, HostInputStream, HostOutputStream, StreamError as WitError,
};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream, Error, StreamResult};

use crate::host::grants::Grants;
use crate::host::state::State;
use crate::host::waits::{Waits, define_waiting};

use super::poll::{block_on, wait_on};

/// The bytes that a stream takes at once: the result of `check-write`.
const PERMIT: usize = 64 << 10;

/// The bytes that `blocking-write-and-flush` takes, as the interface demands.
const BLOCKING_PERMIT: usize = 4096;

type Cx<'a> = StoreContextMut<'a, State>;
type Input = Resource<DynInputStream>;
type Output = Resource<DynOutputStream>;
/// The result of a host call. An outer error ends the guest.
type HostResult<T> = Result<(std::result::Result<T, WitError>,)>;

/// Returns the bytes that a stream takes at once from a guest for one of whose calls the host
/// may allocate `call_memory`. They are as many as the interface demands at least.
pub(super) fn permit(call_memory: usize) -> usize {
    PERMIT.min(call_memory.max(BLOCKING_PERMIT))
}

/// Defines errors. The text of one has no trace of the host's stack, which the one of
/// `wasmtime-wasi-io` has if `RUST_BACKTRACE` is set.
pub(super) fn add_error(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut error = linker.instance("wasi:io/error@0.2.0")?;
    error.resource("error", ResourceType::host::<Error>(), |mut cx, rep| {
        HostError::drop(&mut cx.data_mut().table, Resource::new_own(rep))
    })?;
    let text = |cx: Cx<'_>, (error,): (Resource<Error>,)| {
        Ok((format!("{:#}", cx.data().table.get(&error)?),))
    };
    error.func_wrap("[method]error.to-debug-string", text)
}

pub(super) fn add_to_linker(
    linker: &mut Linker<State>,
    _: &Arc<Grants>,
    waits: Waits,
) -> Result<()> {
    let mut streams = linker.instance("wasi:io/streams@0.2.0")?;
    streams.resource("input-stream", ResourceType::host::<DynInputStream>(), |mut cx, rep| {
        let State { table, sleep, .. } = cx.data_mut();
        block_on(sleep, HostInputStream::drop(table, Input::new_own(rep)))?
    })?;
    streams.resource("output-stream", ResourceType::host::<DynOutputStream>(), |mut cx, rep| {
        let State { table, sleep, .. } = cx.data_mut();
        block_on(sleep, HostOutputStream::drop(table, Output::new_own(rep)))?
    })?;
    streams.func_wrap("[method]input-stream.read", |cx: Cx<'_>, (stream, len): (Input, u64)| {
        at_once(cx, |table| table.read(stream, len))
    })?;
    define_waiting!(streams, waits, "[method]input-stream.blocking-read", blocking_read)?;
    streams.func_wrap("[method]input-stream.skip", |cx: Cx<'_>, (stream, len): (Input, u64)| {
        at_once(cx, |table| table.skip(stream, len))
    })?;
    define_waiting!(streams, waits, "[method]input-stream.blocking-skip", blocking_skip)?;
    streams.func_wrap(
        "[method]input-stream.subscribe",
        |mut cx: Cx<'_>, (stream,): (Input,)| {
            Ok((HostInputStream::subscribe(&mut cx.data_mut().table, stream)?,))
        },
    )?;
    streams
        .func_wrap("[method]output-stream.check-write", |cx: Cx<'_>, (stream,): (Output,)| {
            at_once(cx, |table| table.check_write(stream))
        })?;
    streams.func_wrap("[method]output-stream.write", write)?;
    define_waiting!(
        streams,
        waits,
        "[method]output-stream.blocking-write-and-flush",
        blocking_write_and_flush
    )?;
    streams.func_wrap("[method]output-stream.flush", |cx: Cx<'_>, (stream,): (Output,)| {
        at_once(cx, |table| table.flush(stream))
    })?;
    define_waiting!(streams, waits, "[method]output-stream.blocking-flush", blocking_flush)?;
    streams.func_wrap(
        "[method]output-stream.subscribe",
        |mut cx: Cx<'_>, (stream,): (Output,)| {
            Ok((HostOutputStream::subscribe(&mut cx.data_mut().table, stream)?,))
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.write-zeroes",
        |cx: Cx<'_>, (stream, len): (Output, u64)| {
            at_once(cx, |table| table.write_zeroes(stream, len))
        },
    )?;
    define_waiting!(
        streams,
        waits,
        "[method]output-stream.blocking-write-zeroes-and-flush",
        blocking_write_zeroes_and_flush
    )?;
    streams.func_wrap(
        "[method]output-stream.splice",
        |cx: Cx<'_>, (stream, source, len): (Output, Input, u64)| {
            at_once(cx, |table| table.splice(stream, source, len))
        },
    )?;
    define_waiting!(streams, waits, "[method]output-stream.blocking-splice", blocking_splice)
}

/// Writes data. A guest that writes more than it may is ended, as the interface demands.
fn write(cx: Cx<'_>, (stream, contents): (Output, WasmList<u8>)) -> HostResult<()> {
    let contents = bounded(&cx, &contents, permit(cx.data().call_memory))?;
    at_once(cx, |table| table.write(stream, contents))
}

async fn blocking_write_and_flush(
    mut cx: Cx<'_>,
    (stream, contents): (Output, WasmList<u8>),
) -> HostResult<()> {
    let contents = bounded(&cx, &contents, BLOCKING_PERMIT)?;
    let State { table, sleep, .. } = cx.data_mut();
    let result = wait_on(sleep, table.blocking_write_and_flush(stream, contents)).await?;
    host_result(table, result)
}

/// Copies what a guest writes, if it is not too much.
fn bounded(cx: &Cx<'_>, contents: &WasmList<u8>, most: usize) -> Result<Vec<u8>> {
    if contents.len() > most {
        bail!("it wrote {} bytes at once to a stream that takes {most}", contents.len());
    }
    Ok(contents.as_le_slice(cx).to_vec())
}

fn at_once<T>(
    mut cx: Cx<'_>,
    call: impl FnOnce(&mut ResourceTable) -> StreamResult<T>,
) -> HostResult<T> {
    let table = &mut cx.data_mut().table;
    let result = call(table);
    host_result(table, result)
}

/// Defines functions that wait for a stream.
macro_rules! waiting_calls {
    ($($name:ident($($argument:ident: $type:ty),+) -> $result:ty;)*) => {$(
        async fn $name(mut cx: Cx<'_>, ($($argument),+,): ($($type),+,)) -> HostResult<$result> {
            let State { table, sleep, .. } = cx.data_mut();
            let result = wait_on(sleep, table.$name($($argument),+)).await?;
            host_result(table, result)
        }
    )*};
}

waiting_calls! {
    blocking_read(stream: Input, len: u64) -> Vec<u8>;
    blocking_skip(stream: Input, len: u64) -> u64;
    blocking_flush(stream: Output) -> ();
    blocking_write_zeroes_and_flush(stream: Output, len: u64) -> ();
    blocking_splice(stream: Output, source: Input, len: u64) -> u64;
}

/// Converts the result of a stream into that of a host call.
fn host_result<T>(table: &mut ResourceTable, result: StreamResult<T>) -> HostResult<T> {
    Ok((match result {
        Ok(value) => Ok(value),
        Err(error) => Err(table.convert_stream_error(error)?),
    },))
}
