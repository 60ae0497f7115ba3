//! `wasi:cli/stdin`, `stdout` and `stderr`.
//!
//! A program has its client as its standard input and output. A handler of the contract has no
//! input, and its output is logged. Standard error is logged in any case.

mod connection;
mod datagram;
mod log;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socketserver::{Address, Request, SocketType};
use wasmtime::component::{Linker, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{
    DynInputStream, DynOutputStream, InputStream, StreamError, StreamResult,
};

use crate::host::grants::Grants;
use crate::host::guest_log::Standard;
use crate::host::state::State;
use crate::limits::kill::Kill;

use super::streams::permit;
use connection::{Connection, ConnectionInput, ConnectionOutput};
use datagram::{Datagram, DatagramInput, DatagramOutput};
use log::LogOutput;

/// The standard input and output of a program, which are the request. Several streams of one
/// program share them, as several descriptors share a pipe.
#[derive(Clone)]
pub(crate) enum Stdio {
    Connection(Shared<Connection>),
    Datagram(Shared<Datagram>),
}

/// A value that the streams of one program share. Only the thread of the instance uses it.
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    fn new(value: T) -> Self {
        Shared(Arc::new(Mutex::new(value)))
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason for which the end of a program's output could not be sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// The request reached a limit.
    Limit(Kill),
    /// The client is gone, or cannot be reached.
    Failed(io::Error),
}

impl From<io::Error> for Unsent {
    fn from(error: io::Error) -> Self {
        Kill::of_call(&error).map_or(Unsent::Failed(error), Unsent::Limit)
    }
}

impl Stdio {
    /// Returns the standard streams of a program that serves `request`. The host allocates at
    /// most `call_memory` bytes for one call.
    pub(crate) fn new(request: &Request, client_address: &Address, call_memory: usize) -> Self {
        let request = request.clone();
        match request.socket_type() {
            SocketType::Stream => {
                Stdio::Connection(Shared::new(Connection::new(request, call_memory)))
            }
            SocketType::Dgram => {
                let client_address = client_address.clone();
                let datagram = Datagram::new(request, client_address, call_memory);
                Stdio::Datagram(Shared::new(datagram))
            }
        }
    }

    fn input(&self) -> DynInputStream {
        match self {
            Stdio::Connection(shared) => Box::new(ConnectionInput(shared.clone())),
            Stdio::Datagram(shared) => Box::new(DatagramInput(shared.clone())),
        }
    }

    fn output(&self) -> DynOutputStream {
        match self {
            Stdio::Connection(shared) => Box::new(ConnectionOutput::new(shared.clone())),
            Stdio::Datagram(shared) => Box::new(DatagramOutput(shared.clone())),
        }
    }

    /// Sends what the program wrote and the kernel has not taken yet. It is called when the
    /// program has ended by itself: a datagram's answer is sent then.
    ///
    /// # Errors
    ///
    /// The data cannot be sent.
    pub(crate) async fn finish(&self) -> std::result::Result<(), Unsent> {
        match self {
            Stdio::Connection(shared) => shared.finish().await,
            Stdio::Datagram(shared) => shared.finish().await,
        }
    }

    /// Returns `true` if a call of the program failed because the client was gone.
    pub(crate) fn is_client_gone(&self) -> bool {
        match self {
            Stdio::Connection(shared) => shared.lock().is_client_gone(),
            Stdio::Datagram(_) => false,
        }
    }
}

type Cx<'a> = StoreContextMut<'a, State>;

pub(super) fn add_stdin(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut stdin = linker.instance("wasi:cli/stdin@0.2.0")?;
    stdin.func_wrap("get-stdin", |mut cx: Cx<'_>, ()| {
        let State { stdio, table, .. } = cx.data_mut();
        let stream = stdio.as_ref().map_or_else(|| Box::new(NoInput) as _, Stdio::input);
        Ok((table.push(stream)?,))
    })
}

pub(super) fn add_stdout(linker: &mut Linker<State>, _: &Arc<Grants>) -> Result<()> {
    let mut stdout = linker.instance("wasi:cli/stdout@0.2.0")?;
    stdout.func_wrap("get-stdout", |mut cx: Cx<'_>, ()| {
        let Some(stdio) = &cx.data().stdio else { return Ok((to_log(cx, Standard::Output)?,)) };
        let stream = stdio.output();
        Ok((cx.data_mut().table.push(stream)?,))
    })
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

/// An input that has ended.
struct NoInput;

#[async_trait]
impl Pollable for NoInput {
    async fn ready(&mut self) {}
}

impl InputStream for NoInput {
    fn read(&mut self, _size: usize) -> StreamResult<Bytes> {
        Err(StreamError::Closed)
    }
}
