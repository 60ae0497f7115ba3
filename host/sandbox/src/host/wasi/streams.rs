//! `wasi:io/streams` and `wasi:io/error`: reading and writing files, and writing to the log.
//! No call waits for a peer, so the blocking functions are the same as the others.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::io::{ReadWriteFlags, pwritev2};
use wasmtime::component::{ComponentType, Linker, Lower, Resource, ResourceType, WasmList};
use wasmtime::{Result, StoreContextMut, bail};

use crate::host::grants::Grants;
use crate::host::guest_log::Standard;
use crate::host::open_files::Counted;
use crate::host::state::State;

use super::poll::Pollable;

/// The bytes that a stream takes at once: the result of `check-write`.
const PERMIT: usize = 64 << 10;

/// The bytes that `blocking-write-and-flush` takes, as the interface demands.
const BLOCKING_PERMIT: usize = 4096;

/// The source of a stream that a guest reads.
pub(super) enum InputStream {
    /// Standard input, which is empty.
    Empty,
    /// A file, from an offset.
    File { file: Arc<Counted<File>>, at: u64 },
}

/// The target of a stream that a guest writes.
pub(super) enum OutputStream {
    /// The log.
    Log(Standard),
    /// A file, from an offset.
    File { file: Arc<Counted<File>>, at: u64 },
    /// The end of a file, at the time of each write.
    End { file: Arc<Counted<File>> },
}

/// The error of a stream: `wasi:io/error`.
pub(super) struct StreamFailure(pub io::Error);

/// `stream-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(super) enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<StreamFailure>),
    #[component(name = "closed")]
    Closed,
}

type Cx<'a> = StoreContextMut<'a, State>;
type Input = Resource<InputStream>;
type Output = Resource<OutputStream>;
/// The result of a host call. An outer error ends the guest.
type HostResult<T> = Result<(std::result::Result<T, StreamError>,)>;

pub(super) fn add_error(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut error = linker.instance("wasi:io/error@0.2.0")?;
    error.resource("error", ResourceType::host::<StreamFailure>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<StreamFailure>::new_own(rep))?;
        Ok(())
    })?;
    let text = |cx: Cx<'_>, (error,): (Resource<StreamFailure>,)| {
        Ok((cx.data().table.get(&error)?.0.to_string(),))
    };
    error.func_wrap("[method]error.to-debug-string", text)
}

pub(super) fn add_to_linker(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut streams = linker.instance("wasi:io/streams@0.2.0")?;
    streams.resource("input-stream", ResourceType::host::<InputStream>(), |mut cx, rep| {
        cx.data_mut().table.delete(Input::new_own(rep))?;
        Ok(())
    })?;
    streams.resource("output-stream", ResourceType::host::<OutputStream>(), |mut cx, rep| {
        cx.data_mut().table.delete(Output::new_own(rep))?;
        Ok(())
    })?;
    streams.func_wrap("[method]input-stream.read", read)?;
    streams.func_wrap("[method]input-stream.blocking-read", read)?;
    streams.func_wrap("[method]input-stream.skip", skip)?;
    streams.func_wrap("[method]input-stream.blocking-skip", skip)?;
    streams.func_wrap("[method]input-stream.subscribe", subscribe::<InputStream>)?;
    streams.func_wrap("[method]output-stream.check-write", check_write)?;
    streams.func_wrap("[method]output-stream.write", write::<PERMIT>)?;
    streams
        .func_wrap("[method]output-stream.blocking-write-and-flush", write::<BLOCKING_PERMIT>)?;
    streams.func_wrap("[method]output-stream.flush", flush)?;
    streams.func_wrap("[method]output-stream.blocking-flush", flush)?;
    streams.func_wrap("[method]output-stream.subscribe", subscribe::<OutputStream>)?;
    streams.func_wrap("[method]output-stream.write-zeroes", write_zeroes::<PERMIT>)?;
    streams.func_wrap(
        "[method]output-stream.blocking-write-zeroes-and-flush",
        write_zeroes::<BLOCKING_PERMIT>,
    )?;
    streams.func_wrap("[method]output-stream.splice", splice)?;
    streams.func_wrap("[method]output-stream.blocking-splice", splice)
}

fn read(mut cx: Cx<'_>, (stream, len): (Input, u64)) -> HostResult<Vec<u8>> {
    let state = cx.data_mut();
    let data = state.table.get_mut(&stream)?.read(len, state.call_memory);
    host_result(&mut cx, data)
}

fn skip(mut cx: Cx<'_>, (stream, len): (Input, u64)) -> HostResult<u64> {
    let state = cx.data_mut();
    let data = state.table.get_mut(&stream)?.read(len, state.call_memory);
    host_result(&mut cx, data.map(|data| data.map(|data| data.len() as u64)))
}

fn subscribe<T: Send + 'static>(
    mut cx: Cx<'_>,
    (stream,): (Resource<T>,),
) -> Result<(Resource<Pollable>,)> {
    cx.data().table.get(&stream)?;
    Ok((cx.data_mut().table.push(Pollable::Ready)?,))
}

fn check_write(cx: Cx<'_>, (stream,): (Output,)) -> HostResult<u64> {
    cx.data().table.get(&stream)?;
    Ok((Ok(permit::<PERMIT>(&cx) as u64),))
}

/// Returns the bytes that one call may write: as many as it may allocate, but at least as
/// many as the interface demands.
fn permit<const MOST: usize>(cx: &Cx<'_>) -> usize {
    MOST.min(cx.data().call_memory.max(BLOCKING_PERMIT))
}

/// Writes data. A guest that writes more than it may is ended, as the interface demands.
fn write<const MOST: usize>(
    mut cx: Cx<'_>,
    (stream, contents): (Output, WasmList<u8>),
) -> HostResult<()> {
    let most = permit::<MOST>(&cx);
    if contents.len() > most {
        bail!("it wrote {} bytes at once to a stream that takes {most}", contents.len());
    }
    let contents = contents.as_le_slice(&cx).to_vec();
    put(&mut cx, &stream, &contents)
}

fn write_zeroes<const MOST: usize>(mut cx: Cx<'_>, (stream, len): (Output, u64)) -> HostResult<()> {
    let most = permit::<MOST>(&cx);
    match usize::try_from(len) {
        Ok(len) if len <= most => put(&mut cx, &stream, &vec![0; len]),
        _ => bail!("it wrote {len} zeroes at once to a stream that takes {most}"),
    }
}

fn flush(cx: Cx<'_>, (stream,): (Output,)) -> HostResult<()> {
    cx.data().table.get(&stream)?;
    Ok((Ok(()),))
}

fn splice(mut cx: Cx<'_>, (stream, source, len): (Output, Input, u64)) -> HostResult<u64> {
    let state = cx.data_mut();
    let data = state.table.get_mut(&source)?.read(len, PERMIT.min(state.call_memory));
    let data = match data {
        Ok(Some(data)) => data,
        failed => return host_result(&mut cx, failed.map(|_| None)),
    };
    let (put,) = put(&mut cx, &stream, &data)?;
    Ok((put.map(|()| data.len() as u64),))
}

fn put(cx: &mut Cx<'_>, stream: &Output, data: &[u8]) -> HostResult<()> {
    let state = cx.data_mut();
    let written = match state.table.get_mut(stream)? {
        OutputStream::Log(standard) => {
            let standard = *standard;
            state.log_output(standard, data);
            Ok(())
        }
        OutputStream::File { file, at } => {
            let written = file.write_all_at(data, *at);
            *at = at.saturating_add(data.len() as u64);
            written
        }
        OutputStream::End { file } => append(file, data),
    };
    host_result(cx, written.map(Some))
}

/// Appends data as `O_APPEND` does: what other processes append at the same time stays
/// whole.
fn append(file: &File, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match pwritev2(file, &[IoSlice::new(data)], 0, ReadWriteFlags::APPEND) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => data = &data[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl InputStream {
    /// Reads at most `len` bytes, and at most `most`. Returns `None` at the end.
    fn read(&mut self, len: u64, most: usize) -> io::Result<Option<Vec<u8>>> {
        match self {
            InputStream::Empty => Ok(None),
            InputStream::File { file, at } => {
                let data = read_at(file, len, most, *at)?;
                *at = at.saturating_add(data.len() as u64);
                Ok((!data.is_empty() || len == 0).then_some(data))
            }
        }
    }
}

/// Reads at most `len` bytes, and at most `most`, which bounds the buffer.
pub(super) fn read_at(file: &File, len: u64, most: usize, at: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).unwrap_or(most).min(most);
    let mut data = vec![0; len];
    let mut count = 0;
    while count < len {
        match file.read_at(&mut data[count..], at.saturating_add(count as u64)) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if count > 0 => break,
            Err(error) => return Err(error),
        }
    }
    data.truncate(count);
    Ok(data)
}

/// Converts the result of a stream into that of a host call. `None` stands for the end.
fn host_result<T>(cx: &mut Cx<'_>, result: io::Result<Option<T>>) -> HostResult<T> {
    Ok((match result {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(StreamError::Closed),
        Err(error) => {
            let error = cx.data_mut().table.push(StreamFailure(error))?;
            Err(StreamError::LastOperationFailed(error))
        }
    },))
}
