//! `wasi:io/streams` and `wasi:io/error`, as `wasmtime-wasi-io` has them. The bytes that a
//! guest writes are counted before they are copied.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use wasmtime::component::{Linker, Resource, ResourceTable, ResourceType, WasmList};
use wasmtime::{Result, StoreContextMut, bail};
use wasmtime_wasi_io::bindings::wasi::io::error::HostError;
use wasmtime_wasi_io::bindings::wasi::io::streams::{
    Host, HostInputStream, HostOutputStream, StreamError as WitError,
};
use wasmtime_wasi_io::streams::{
    DynInputStream, DynOutputStream, Error, StreamError, StreamResult,
};

use crate::host::elsewhere::with_files;
use crate::host::grants::Grants;
use crate::host::state::State;
use crate::host::waits::{Waits, define_resource, define_waiting};

use super::poll::wait_on;

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
    define_resource!(streams, waits, "input-stream", DynInputStream, drop_input)?;
    define_resource!(streams, waits, "output-stream", DynOutputStream, drop_output)?;
    define_waiting!(streams, waits, "[method]input-stream.read", read)?;
    define_waiting!(streams, waits, "[method]input-stream.blocking-read", blocking_read)?;
    define_waiting!(streams, waits, "[method]input-stream.skip", skip)?;
    define_waiting!(streams, waits, "[method]input-stream.blocking-skip", blocking_skip)?;
    streams.func_wrap(
        "[method]input-stream.subscribe",
        |mut cx: Cx<'_>, (stream,): (Input,)| {
            Ok((HostInputStream::subscribe(&mut cx.data_mut().table, stream)?,))
        },
    )?;
    streams.func_wrap(
        "[method]output-stream.check-write",
        |mut cx: Cx<'_>, (stream,): (Output,)| {
            let table = &mut cx.data_mut().table;
            let result = table.check_write(stream);
            host_result(table, result)
        },
    )?;
    define_waiting!(streams, waits, "[method]output-stream.write", write)?;
    define_waiting!(
        streams,
        waits,
        "[method]output-stream.blocking-write-and-flush",
        blocking_write_and_flush
    )?;
    streams.func_wrap("[method]output-stream.flush", |mut cx: Cx<'_>, (stream,): (Output,)| {
        // That of a file does nothing.
        let table = &mut cx.data_mut().table;
        let result = table.flush(stream);
        host_result(table, result)
    })?;
    define_waiting!(streams, waits, "[method]output-stream.blocking-flush", blocking_flush)?;
    streams.func_wrap(
        "[method]output-stream.subscribe",
        |mut cx: Cx<'_>, (stream,): (Output,)| {
            Ok((HostOutputStream::subscribe(&mut cx.data_mut().table, stream)?,))
        },
    )?;
    define_waiting!(streams, waits, "[method]output-stream.write-zeroes", write_zeroes)?;
    define_waiting!(
        streams,
        waits,
        "[method]output-stream.blocking-write-zeroes-and-flush",
        blocking_write_zeroes_and_flush
    )?;
    define_waiting!(streams, waits, "[method]output-stream.splice", splice)?;
    define_waiting!(streams, waits, "[method]output-stream.blocking-splice", blocking_splice)
}

async fn drop_input(mut cx: Cx<'_>, rep: u32) -> Result<()> {
    let state = cx.data_mut();
    if state.drops_stream_of_file(rep) {
        let stream = state.table.delete(Input::new_own(rep))?;
        return with_files(state, move |_| drop(stream)).await;
    }
    let State { table, sleep, .. } = state;
    wait_on(sleep, HostInputStream::drop(table, Input::new_own(rep))).await?
}

async fn drop_output(mut cx: Cx<'_>, rep: u32) -> Result<()> {
    let state = cx.data_mut();
    if state.drops_stream_of_file(rep) {
        let stream = state.table.delete(Output::new_own(rep))?;
        return with_files(state, move |_| drop(stream)).await;
    }
    let State { table, sleep, .. } = state;
    wait_on(sleep, HostOutputStream::drop(table, Output::new_own(rep))).await?
}

/// Writes data. A guest that writes more than it may is ended, as the interface demands.
async fn write(cx: Cx<'_>, (stream, contents): (Output, WasmList<u8>)) -> HostResult<()> {
    let contents = bounded(&cx, &contents, permit(cx.data().call_memory))?;
    at_once(cx, stream.rep(), |table| table.write(stream, contents)).await
}

async fn blocking_write_and_flush(
    mut cx: Cx<'_>,
    (stream, contents): (Output, WasmList<u8>),
) -> HostResult<()> {
    let contents = bounded(&cx, &contents, BLOCKING_PERMIT)?;
    if is_file(&cx, stream.rep()) {
        return at_once(cx, stream.rep(), |table| {
            now(table.blocking_write_and_flush(stream, contents))
        })
        .await;
    }
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

/// Returns true if calls on a stream may block the thread, which may not be.
fn is_file(cx: &Cx<'_>, stream: u32) -> bool {
    cx.data().is_stream_of_file(stream)
}

/// Makes a call on a stream that waits for nothing, but perhaps for a disk.
async fn at_once<T: Send + 'static>(
    mut cx: Cx<'_>,
    stream: u32,
    call: impl FnOnce(&mut ResourceTable) -> StreamResult<T> + Send + 'static,
) -> HostResult<T> {
    let is_file = is_file(&cx, stream);
    let state = cx.data_mut();
    let result = if is_file { with_files(state, call).await? } else { call(&mut state.table) };
    host_result(&mut state.table, result)
}

/// Returns the result of a call on a stream that is always ready.
fn now<T>(call: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(StreamError::trap("a file is not ready")),
    }
}

/// Defines functions that wait for no stream, but perhaps for a disk.
macro_rules! calls_at_once {
    ($($name:ident($stream:ident: $type:ty, $len:ident: u64) -> $result:ty;)*) => {$(
        async fn $name(cx: Cx<'_>, ($stream, $len): ($type, u64)) -> HostResult<$result> {
            at_once(cx, $stream.rep(), move |table| table.$name($stream, $len)).await
        }
    )*};
}

calls_at_once! {
    read(stream: Input, len: u64) -> Vec<u8>;
    skip(stream: Input, len: u64) -> u64;
    write_zeroes(stream: Output, len: u64) -> ();
}

/// Defines functions that wait for a stream.
macro_rules! waiting_calls {
    ($($name:ident($stream:ident: $type:ty $(, $argument:ident: u64)?) -> $result:ty;)*) => {$(
        async fn $name(
            mut cx: Cx<'_>,
            ($stream, $($argument)?): ($type, $(waiting_calls!(@ $argument))?),
        ) -> HostResult<$result> {
            if is_file(&cx, $stream.rep()) {
                return at_once(cx, $stream.rep(), move |table| {
                    now(table.$name($stream $(, $argument)?))
                })
                .await;
            }
            let State { table, sleep, .. } = cx.data_mut();
            let result = wait_on(sleep, table.$name($stream $(, $argument)?)).await?;
            host_result(table, result)
        }
    )*};
    (@ $argument:ident) => { u64 };
}

waiting_calls! {
    blocking_read(stream: Input, len: u64) -> Vec<u8>;
    blocking_skip(stream: Input, len: u64) -> u64;
    blocking_flush(stream: Output) -> ();
    blocking_write_zeroes_and_flush(stream: Output, len: u64) -> ();
}

async fn splice(mut cx: Cx<'_>, (stream, source, len): (Output, Input, u64)) -> HostResult<u64> {
    if is_file(&cx, stream.rep()) || is_file(&cx, source.rep()) {
        return splice_file(cx, (stream.rep(), source.rep(), len), false).await;
    }
    let table = &mut cx.data_mut().table;
    let result = table.splice(stream, source, len);
    host_result(table, result)
}

async fn blocking_splice(
    mut cx: Cx<'_>,
    (stream, source, len): (Output, Input, u64),
) -> HostResult<u64> {
    if is_file(&cx, stream.rep()) || is_file(&cx, source.rep()) {
        return splice_file(cx, (stream.rep(), source.rep(), len), true).await;
    }
    let State { table, sleep, .. } = cx.data_mut();
    let result = wait_on(sleep, table.blocking_splice(stream, source, len)).await?;
    host_result(table, result)
}

/// Splices from a file or to one: another thread makes the calls on the file, and no others.
async fn splice_file(
    mut cx: Cx<'_>,
    (stream, source, len): (u32, u32, u64),
    waits: bool,
) -> HostResult<u64> {
    let result = splice_in_steps(cx.data_mut(), (stream, source, len), waits).await?;
    host_result(&mut cx.data_mut().table, result)
}

async fn splice_in_steps(
    state: &mut State,
    (stream, source, len): (u32, u32, u64),
    waits: bool,
) -> Result<StreamResult<u64>> {
    let (to, from) = (|| Output::new_borrow(stream), || Input::new_borrow(source));
    let State { table, sleep, .. } = &mut *state;
    let permit = if waits {
        wait_on(sleep, table.get_mut(&to())?.write_ready()).await?
    } else {
        table.get_mut(&to())?.check_write()
    };
    let len = match permit {
        Ok(permit) => len.min(permit as u64),
        Err(error) => return Ok(Err(error)),
    };
    if len == 0 {
        return Ok(Ok(0));
    }
    let contents = if state.is_stream_of_file(source) {
        with_files(state, move |table| table.read(Input::new_borrow(source), len)).await?
    } else {
        let State { table, sleep, .. } = &mut *state;
        if waits {
            wait_on(sleep, table.blocking_read(from(), len)).await?
        } else {
            table.read(from(), len)
        }
    };
    let contents = match contents {
        Ok(contents) if contents.is_empty() => return Ok(Ok(0)),
        Ok(contents) => contents,
        Err(error) => return Ok(Err(error)),
    };
    let count = contents.len() as u64;
    let written = if state.is_stream_of_file(stream) {
        with_files(state, move |table| table.write(Output::new_borrow(stream), contents)).await?
    } else {
        let State { table, sleep, .. } = &mut *state;
        if waits {
            let stream = table.get_mut(&to())?;
            wait_on(sleep, stream.blocking_write_and_flush(contents.into())).await?
        } else {
            table.write(to(), contents)
        }
    };
    Ok(written.map(|()| count))
}

/// Converts the result of a stream into that of a host call.
fn host_result<T>(table: &mut ResourceTable, result: StreamResult<T>) -> HostResult<T> {
    Ok((match result {
        Ok(value) => Ok(value),
        Err(error) => Err(table.convert_stream_error(error)?),
    },))
}
