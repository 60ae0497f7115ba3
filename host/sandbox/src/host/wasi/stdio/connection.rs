//! A connection as the standard input and output of a program.

use std::io;
use std::net::Shutdown;

use rustix::io::Errno;
use socketserver::{Readiness, Request};
use wasmtime_wasi::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, OutputStream, StreamError, StreamResult};

use super::{Shared, Unsent};
use crate::host::wasi::poll::{socket_is_ready, works_in_background};
use crate::host::wasi::streams::permit;
use crate::limits::kill::Kill;

const READABLE: Readiness = Readiness { readable: true, writable: false };
const WRITABLE: Readiness = Readiness { readable: false, writable: true };

/// A connection, as all streams of one program share it.
pub(crate) struct Connection {
    request: Request,
    /// The bytes that one call may allocate.
    most: usize,
    /// Bytes that the program has written and the kernel has not taken yet: at most the permit of
    /// one write, over all streams.
    unsent: Bytes,
    output: Output,
    /// The number of streams of the output that the program holds.
    outputs: usize,
    /// Set when a call failed because the client was gone.
    client_gone: bool,
}

/// The state of the sending side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// The program has got no stream yet.
    Unused,
    /// The program has got a stream, and may write.
    Open,
    /// The program has closed the sending side.
    Closed,
    /// The client takes no more, and the program has been told.
    Broken,
}

impl Connection {
    pub(super) fn new(request: Request, call_memory: usize) -> Self {
        Connection {
            request,
            most: call_memory,
            unsent: Bytes::new(),
            output: Output::Unused,
            outputs: 0,
            client_gone: false,
        }
    }

    pub(super) fn is_client_gone(&self) -> bool {
        self.client_gone
    }

    /// Fails if the program has closed its output, or the client takes no more.
    ///
    /// The first write after the client has gone fails, as with `EPIPE`. The next one ends the
    /// program, as `SIGPIPE` does: a program that looks at no error would write on and on.
    fn check_output(&self) -> StreamResult<()> {
        match self.output {
            Output::Unused | Output::Open => Ok(()),
            Output::Closed => Err(StreamError::Closed),
            Output::Broken => Err(StreamError::Trap(Kill::ClientGone.into())),
        }
    }

    /// Returns the error of a stream for that of a call on the socket.
    fn failed(&mut self, error: io::Error) -> StreamError {
        if let Some(kill) = Kill::of_call(&error) {
            return StreamError::Trap(kill.into());
        }
        let errno = Errno::from_io_error(&error);
        if matches!(errno, Some(Errno::PIPE | Errno::CONNRESET | Errno::CONNABORTED)) {
            self.client_gone = true;
            self.output = Output::Broken;
        }
        match errno {
            Some(Errno::PIPE) => StreamError::Closed,
            _ => StreamError::LastOperationFailed(error.into()),
        }
    }

    /// Sends what an earlier write has left, as much as the kernel takes at once.
    fn send_rest_now(&mut self) -> StreamResult<()> {
        while !self.unsent.is_empty() {
            match self.request.without_waiting(|request| request.send(&self.unsent)) {
                Ok(Some(count)) => drop(self.unsent.split_to(count)),
                Ok(None) => break,
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }
}

impl Shared<Connection> {
    /// Sends what is left of the output, and waits until the kernel has taken it.
    pub(super) async fn finish(&self) -> Result<(), Unsent> {
        let (request, unsent) = {
            let mut connection = self.lock();
            (connection.request.clone(), std::mem::take(&mut connection.unsent))
        };
        if unsent.is_empty() { Ok(()) } else { Ok(request.sendall_async(&unsent).await?) }
    }

    fn failed(&self, error: io::Error) -> StreamError {
        self.lock().failed(error)
    }

    /// Sends what an earlier write has left, and then `data`.
    async fn send_all(&self, data: Bytes) -> StreamResult<()> {
        let (request, unsent) = {
            let mut connection = self.lock();
            connection.check_output()?;
            (connection.request.clone(), std::mem::take(&mut connection.unsent))
        };
        for data in [unsent, data] {
            if !data.is_empty() {
                request.sendall_async(&data).await.map_err(|error| self.failed(error))?;
            }
        }
        Ok(())
    }

    /// Ends the sending side if the program has closed its output, as a pipe ends when its last
    /// descriptor is closed: it has dropped all streams before it waits for its client.
    async fn close_dropped_output(&self) -> StreamResult<()> {
        self.send_all(Bytes::new()).await?;
        let mut connection = self.lock();
        connection.output = Output::Closed;
        // The client may have gone already.
        let _ = connection.request.shutdown(Shutdown::Write);
        Ok(())
    }

    /// Returns `true` if the program got an output, and holds none any more.
    fn has_dropped_output(&self) -> bool {
        let connection = self.lock();
        connection.output == Output::Open && connection.outputs == 0
    }

    /// Completes when the connection is ready in a direction, or a call on it would fail.
    async fn ready(&self, wanted: Readiness) {
        let request = self.lock().request.clone();
        socket_is_ready(&request, wanted).await;
    }
}

/// A standard input of a program.
pub(super) struct ConnectionInput(pub Shared<Connection>);

#[async_trait]
impl Pollable for ConnectionInput {
    async fn ready(&mut self) {
        self.0.ready(READABLE).await;
    }
}

#[async_trait]
impl InputStream for ConnectionInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut connection = self.0.lock();
        let size = size.min(connection.most);
        match connection.request.without_waiting(|request| request.recv(size)) {
            Ok(Some(data)) if data.is_empty() && size > 0 => Err(StreamError::Closed),
            Ok(data) => Ok(data.unwrap_or_default().into()),
            Err(error) => Err(connection.failed(error)),
        }
    }

    /// Receives with one system call if there is data.
    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        let (request, size) = {
            let connection = self.0.lock();
            (connection.request.clone(), size.min(connection.most))
        };
        if self.0.has_dropped_output() {
            self.0.close_dropped_output().await?;
        }
        if size == 0 {
            self.ready().await;
            return Ok(Bytes::new());
        }
        if works_in_background() {
            self.ready().await;
        }
        match request.recv_async(size).await {
            Ok(data) if data.is_empty() => Err(StreamError::Closed),
            Ok(data) => Ok(data.into()),
            Err(error) => Err(self.0.failed(error)),
        }
    }
}

/// A standard output of a program.
pub(super) struct ConnectionOutput(Shared<Connection>);

impl ConnectionOutput {
    pub(super) fn new(shared: Shared<Connection>) -> Self {
        {
            let mut connection = shared.lock();
            connection.outputs += 1;
            if connection.output == Output::Unused {
                connection.output = Output::Open;
            }
        }
        ConnectionOutput(shared)
    }
}

impl Drop for ConnectionOutput {
    fn drop(&mut self) {
        self.0.lock().outputs -= 1;
    }
}

/// The output is ready when the kernel has taken what was written before.
#[async_trait]
impl Pollable for ConnectionOutput {
    async fn ready(&mut self) {
        loop {
            {
                let mut connection = self.0.lock();
                // The next call reports the error of this one.
                if connection.send_rest_now().is_err() || connection.unsent.is_empty() {
                    return;
                }
            }
            self.0.ready(WRITABLE).await;
        }
    }
}

#[async_trait]
impl OutputStream for ConnectionOutput {
    fn write(&mut self, data: Bytes) -> StreamResult<()> {
        let mut connection = self.0.lock();
        connection.check_output()?;
        if !connection.unsent.is_empty() {
            return Err(StreamError::trap("it wrote to a stream that takes nothing yet"));
        }
        connection.unsent = data;
        connection.send_rest_now()
    }

    fn flush(&mut self) -> StreamResult<()> {
        let mut connection = self.0.lock();
        connection.check_output()?;
        connection.send_rest_now()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let mut connection = self.0.lock();
        connection.check_output()?;
        connection.send_rest_now()?;
        Ok(if connection.unsent.is_empty() { permit(connection.most) } else { 0 })
    }

    /// Sends with one system call if the kernel takes the data.
    async fn blocking_write_and_flush(&mut self, data: Bytes) -> StreamResult<()> {
        if works_in_background() {
            self.0.ready(WRITABLE).await;
        }
        self.0.send_all(data).await
    }
}
