//! The streams of a TCP connection that a guest has opened or accepted.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::io::Errno;
use socketserver::{Readiness, Request};
use wasmtime_wasi::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, OutputStream, StreamError, StreamResult};

use crate::host::sleep::{InBackground, Source};
use crate::host::wasi::poll::socket_is_ready;
use crate::host::wasi::streams::permit;
use crate::limits::kill::Kill;

pub(super) const READABLE: Readiness = Readiness { readable: true, writable: false };
pub(super) const WRITABLE: Readiness = Readiness { readable: false, writable: true };

/// A connection, as its socket and its streams share it.
pub(super) struct Connection {
    request: Request,
    /// The bytes that one call may allocate.
    most: usize,
    /// Set when the guest has shut down the receiving side.
    has_input_ended: Arc<AtomicBool>,
    sending: Arc<Mutex<Sending>>,
}

impl Connection {
    pub(super) fn new(request: &Request, call_memory: usize) -> Self {
        let sending = Sending {
            request: request.clone(),
            unsent: Bytes::new(),
            state: SendState::Open,
            most: permit(call_memory),
        };
        Connection {
            request: request.clone(),
            most: call_memory,
            has_input_ended: Arc::default(),
            sending: Arc::new(Mutex::new(sending)),
        }
    }

    pub(super) fn input(&self) -> Input {
        Input {
            request: self.request.clone(),
            most: self.most,
            has_ended: Arc::clone(&self.has_input_ended),
        }
    }

    pub(super) fn output(&self) -> Output {
        Output(Arc::clone(&self.sending))
    }

    /// Returns the sending that goes on while the guest waits.
    pub(super) fn background(&self) -> Weak<dyn InBackground> {
        Arc::downgrade(&(Arc::clone(&self.sending) as Arc<dyn InBackground>))
    }

    /// Shuts down one half of the connection or both. What the guest has written is sent first.
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Write {
            self.has_input_ended.store(true, Relaxed);
            ignore_not_connected(self.request.shutdown(Shutdown::Read))?;
        }
        if how != Shutdown::Read {
            let mut sending = lock(&self.sending);
            if sending.state == SendState::Open {
                sending.state = SendState::Closing;
                // The next call on the stream reports the error.
                let _ = sending.send_now();
            }
        }
        Ok(())
    }
}

/// The other end may have gone already.
fn ignore_not_connected(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOTCONN) => Ok(()),
        result => result,
    }
}

fn lock(sending: &Mutex<Sending>) -> MutexGuard<'_, Sending> {
    sending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending side of a connection.
struct Sending {
    request: Request,
    /// Bytes that the guest has written and the kernel has not taken yet: at most what one call
    /// writes.
    unsent: Bytes,
    state: SendState,
    /// The most bytes that it takes at once.
    most: usize,
}

/// The fewest bytes that a connection permits, if it permits any.
const LEAST_PERMIT: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendState {
    Open,
    /// The guest has closed it, and there is more to send.
    Closing,
    Closed,
    /// A call failed, with an error of the kernel.
    Failed(i32),
    /// A call reached a limit.
    Killed(Kill),
}

impl Sending {
    /// Fails if the guest has closed it, or a call has failed.
    fn check(&self) -> StreamResult<()> {
        match self.state {
            SendState::Open => Ok(()),
            SendState::Closing | SendState::Closed => Err(StreamError::Closed),
            SendState::Failed(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                Err(StreamError::LastOperationFailed(error.into()))
            }
            SendState::Killed(kill) => Err(StreamError::Trap(kill.into())),
        }
    }

    /// Returns true if the kernel has all that was written, and has room for more.
    fn takes_more(&self) -> bool {
        // The next call reports an error.
        self.unsent.is_empty() && self.request.is_ready(WRITABLE).unwrap_or(true)
    }

    /// Returns a number of bytes that the kernel will take at once, unless it lacks memory: it
    /// has room for a third of the buffer, and needs some for each packet.
    fn permit(&self) -> usize {
        let buffer = self.request.getsockopt(libc::SOL_SOCKET, libc::SO_SNDBUF).unwrap_or(0);
        let part = usize::try_from(buffer / 8).unwrap_or(0).max(LEAST_PERMIT);
        part.min(self.most)
    }

    /// Sends what is left, as much as the kernel takes at once.
    fn send_now(&mut self) -> StreamResult<()> {
        while !self.unsent.is_empty() {
            match self.request.send(&self.unsent) {
                Ok(count) => drop(self.unsent.split_to(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.state = state_after(&error);
                    self.unsent.clear();
                    return self.check();
                }
            }
        }
        if self.state == SendState::Closing {
            self.state = SendState::Closed;
            // The other end may have gone already.
            let _ = self.request.shutdown(Shutdown::Write);
        }
        Ok(())
    }
}

/// Returns the state after a call that failed. A connection that takes no more is closed.
fn state_after(error: &io::Error) -> SendState {
    if let Some(kill) = Kill::of_opened(error) {
        return SendState::Killed(kill);
    }
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    if errno == Errno::PIPE { SendState::Closed } else { SendState::Failed(errno.raw_os_error()) }
}

impl InBackground for Mutex<Sending> {
    fn advance(&self) -> Option<(Source, Readiness)> {
        let mut sending = lock(self);
        // The next call on the stream reports the error.
        let _ = sending.send_now();
        let is_left = !sending.unsent.is_empty();
        is_left.then(|| (Source::Socket(sending.request.clone()), WRITABLE))
    }
}

/// The input of a connection.
pub(super) struct Input {
    request: Request,
    most: usize,
    has_ended: Arc<AtomicBool>,
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        if !self.has_ended.load(Relaxed) {
            socket_is_ready(&self.request, READABLE).await;
        }
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.has_ended.load(Relaxed) {
            return Err(StreamError::Closed);
        }
        let size = size.min(self.most);
        match self.request.recv(size) {
            Ok(data) if data.is_empty() && size > 0 => Err(StreamError::Closed),
            Ok(data) => Ok(data.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Bytes::new()),
            Err(error) => Err(match Kill::of_opened(&error) {
                Some(kill) => StreamError::Trap(kill.into()),
                None => StreamError::LastOperationFailed(error.into()),
            }),
        }
    }
}

/// The output of a connection.
pub(super) struct Output(Arc<Mutex<Sending>>);

impl Output {
    /// Completes when the kernel has what the guest has written, or takes no more.
    async fn is_sent(&self) {
        loop {
            let request = {
                let mut sending = lock(&self.0);
                // The next call reports the error.
                if sending.send_now().is_err() || sending.unsent.is_empty() {
                    return;
                }
                sending.request.clone()
            };
            socket_is_ready(&request, WRITABLE).await;
        }
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        self.is_sent().await;
        let request = {
            let sending = lock(&self.0);
            (sending.state == SendState::Open).then(|| sending.request.clone())
        };
        if let Some(request) = request {
            socket_is_ready(&request, WRITABLE).await;
        }
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, data: Bytes) -> StreamResult<()> {
        let mut sending = lock(&self.0);
        sending.check()?;
        if !sending.unsent.is_empty() {
            return Err(StreamError::trap("it wrote to a connection that takes nothing yet"));
        }
        sending.unsent = data;
        sending.send_now()
    }

    fn flush(&mut self) -> StreamResult<()> {
        let mut sending = lock(&self.0);
        sending.check()?;
        sending.send_now()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let mut sending = lock(&self.0);
        sending.check()?;
        sending.send_now()?;
        Ok(if sending.takes_more() { sending.permit() } else { 0 })
    }

    /// Waits until the kernel has what the guest has written: a guest that drops the stream
    /// relies on it.
    async fn cancel(&mut self) {
        self.is_sent().await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_the_kernel_has_not_taken_is_sent_in_the_background() {
        let (_client, server) = UnixStream::pair().unwrap();
        let (mut peer, opened) = UnixStream::pair().unwrap();
        opened.set_nonblocking(true).unwrap();
        let opened = Request::new(server).open(opened).unwrap();
        opened.settimeout(Some(Duration::ZERO));
        let connection = Connection::new(&opened, 256 << 10);
        let mut output = connection.output();
        let size = 4 << 20;
        output.write(vec![b'x'; size].into()).unwrap();
        assert_eq!(output.check_write().unwrap(), 0, "the kernel has taken a part");
        assert!(output.write(Bytes::from_static(b"x")).is_err());
        connection.shutdown(Shutdown::Write).unwrap();
        let background = connection.background().upgrade().unwrap();
        let (mut received, mut buffer) = (0, vec![0; 1 << 20]);
        while background.advance().is_some() {
            received += peer.read(&mut buffer).unwrap();
        }
        // The end comes after the data.
        received += peer.read_to_end(&mut buffer).unwrap();
        assert_eq!(received, size);
        assert!(matches!(output.check_write(), Err(StreamError::Closed)));
    }
}
