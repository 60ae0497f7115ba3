//! Connections with TLS: the calls of a request, on the plain bytes of a session.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_quickack;
use rustix::net::{RecvFlags, SendFlags};
use rustls::ServerConnection;
use socket2::Socket;

use super::Request;
use super::readiness::Readiness;
use super::transport::{Transfer, TransferError, Transport};
use super::wait::{self, Interest, wait_for};
use crate::listen::descriptor_passing::PassedDescriptors;
use crate::poll::Polled;
use crate::tls::{Awaited, End, Session, Stopped, TlsServer};

/// The part of a file that is read at once.
const FILE_PART: usize = 64 << 10;

/// TLS on a connection. There is no session before the handshake, which the thread or process
/// of the request begins.
#[derive(Debug)]
pub(super) struct Secured {
    server: TlsServer,
    session: Mutex<Option<Session>>,
}

/// The socket under a session.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    pub socket: &'a Socket,
    pub passed: PassedDescriptors,
}

impl Secured {
    pub(super) fn new(server: TlsServer) -> Self {
        Secured { server, session: Mutex::default() }
    }

    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_session<T>(
        &self,
        call: impl FnOnce(&mut Session) -> Result<T, Stopped>,
    ) -> Transfer<T> {
        let mut session = self.session();
        let Some(session) = &mut *session else {
            return Err(TransferError::Failed(Errno::NOTCONN.into()));
        };
        call(session).map_err(to_transfer)
    }

    /// Goes on with the handshake, which the first call begins.
    pub(super) fn handshake(&self, records: Records<'_>) -> Transfer<()> {
        let mut session = self.session();
        let session = match &mut *session {
            Some(session) => session,
            none => none.insert(Session::new(&self.server).map_err(TransferError::Failed)?),
        };
        session.handshake(records).map_err(to_transfer)
    }

    /// Passes what can be received to `take`, which returns the number of bytes that it takes.
    pub(super) fn receive(
        &self,
        records: Records<'_>,
        peek: bool,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Transfer<usize> {
        self.with_session(|session| {
            let count = take(session.fill(records)?);
            if !peek {
                session.consume(count);
            }
            Ok(count)
        })
    }

    pub(super) fn send(&self, records: Records<'_>, data: &[u8]) -> Transfer<usize> {
        self.with_session(|session| session.send(records, data))
    }

    /// Reads a part of a file and sends it, as `sendfile(2)` does.
    pub(super) fn send_file(
        &self,
        records: Records<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> Transfer<usize> {
        self.with_session(|session| {
            // Nothing is read that could not be sent.
            session.flush(records)?;
            let mut part = vec![0; count.min(FILE_PART)];
            let read = rustix::io::pread(file, &mut part, offset);
            let read = read.map_err(|error| Stopped::Failed(error.into()))?;
            if read == 0 { Ok(0) } else { session.send(records, &part[..read]) }
        })
    }

    /// Says that no more will be sent, and sends that if the kernel takes it.
    ///
    /// Takes what the client has said meanwhile, such as that its side ends: the kernel resets a
    /// connection that is closed with something unread, and drops what it has not sent yet.
    pub(super) fn close(&self, records: Records<'_>) -> Transfer<()> {
        self.with_session(|session| {
            session.close();
            let flushed = session.flush(records);
            // The request is over, whatever it is.
            let _ = session.fill(records);
            flushed
        })
    }

    pub(super) fn flush(&self, records: Records<'_>) -> Transfer<()> {
        self.with_session(|session| session.flush(records))
    }

    /// Returns the directions in which a call would not wait.
    pub(super) fn readiness(&self, records: Records<'_>) -> Readiness {
        let mut session = self.session();
        let Some(session) = &mut *session else {
            return Readiness { readable: true, writable: true };
        };
        let waits = |result: Result<(), Stopped>| matches!(result, Err(Stopped::Waits(_)));
        let readable = !waits(session.fill(records).map(drop));
        let writable = !waits(session.flush(records));
        Readiness { readable, writable }
    }

    /// Returns true if the kernel has not taken all that was sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.session().as_ref().is_some_and(Session::has_unsent)
    }

    /// Returns true if the connection ended before the client said that it sends no more.
    pub(super) fn is_truncated(&self) -> bool {
        self.session().as_ref().is_some_and(|session| session.end() == Some(End::Truncated))
    }

    /// Returns true if the session has said that it sends no more.
    pub(super) fn is_closed(&self) -> bool {
        self.session().as_ref().is_some_and(Session::is_closed)
    }

    /// Returns true if the handshake was done.
    pub(super) fn is_established(&self) -> bool {
        self.session().as_ref().is_some_and(Session::is_established)
    }

    /// Returns a fact of the handshake, if that was done.
    pub(super) fn fact<T>(&self, read: impl FnOnce(&ServerConnection) -> Option<T>) -> Option<T> {
        read(self.session().as_ref()?.established()?)
    }
}

fn to_transfer(stopped: Stopped) -> TransferError {
    match stopped {
        Stopped::Waits(Awaited::Data) => TransferError::WouldBlock(Interest::Readable),
        Stopped::Waits(Awaited::Room) => TransferError::WouldBlock(Interest::Writable),
        Stopped::Waits(Awaited::Either) => TransferError::WouldBlock(Interest::Either),
        Stopped::Failed(error) => TransferError::Failed(error),
    }
}

impl Read for Records<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let flags = RecvFlags::DONTWAIT;
        if self.passed.may_come() {
            let mut data = Vec::with_capacity(buffer.len());
            let count = self.passed.receive(self.socket.as_fd(), &mut data, flags)?;
            let count = count.min(buffer.len());
            buffer[..count].copy_from_slice(&data[..count]);
            return Ok(count);
        }
        Ok(rustix::io::retry_on_intr(|| rustix::net::recv(self.socket, &mut *buffer, flags))?.1)
    }
}

impl Write for Records<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(rustix::io::retry_on_intr(|| rustix::net::send(self.socket, data, flags))?)
    }

    /// Sends the records as one piece. If each was sent alone, the kernel would hold back the
    /// second one until the client has acknowledged the first (RFC 896). They are copied, since
    /// the jail has no `sendmsg`.
    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        match records {
            [record] => self.write(record),
            records => {
                let records: Vec<&[u8]> = records.iter().map(|record| &**record).collect();
                self.write(&records.concat())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Request {
    /// Does the handshake, if the connection has TLS. The client has the time that the server
    /// allows it.
    ///
    /// # Errors
    ///
    /// The handshake failed, or was not done in time.
    pub(crate) async fn handshake(&self) -> io::Result<()> {
        let Transport::Connection(connection) = &self.0.transport else { return Ok(()) };
        let Some(tls) = connection.tls() else { return Ok(()) };
        let timeout = tls.server.handshake_timeout();
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let interest = match tls.handshake(connection.records()) {
                Ok(()) => {
                    // A client holds back its first data until its last message of the handshake
                    // is acknowledged (RFC 896), and the kernel would wait for an answer that
                    // takes the acknowledgement along. A Unix socket has none.
                    let _ = set_tcp_quickack(connection, true);
                    return Ok(());
                }
                Err(TransferError::Failed(error)) => return Err(error),
                Err(TransferError::WouldBlock(interest)) => interest,
            };
            // A client that sends a byte whenever it is asked for one is late, too.
            let is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if is_late
                || wait_for(connection.as_fd(), interest, 0, deadline).await? != Polled::Ready
            {
                let late = format!("the handshake was not done within {timeout:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, late));
            }
        }
    }

    /// Sends what the kernel has not taken yet, within the limits of the request. If the session
    /// is to say that it ends, this also waits for room for that. After a handshake that was not
    /// done nothing waits.
    ///
    /// # Errors
    ///
    /// A limit was reached first, or the client has gone.
    pub(super) async fn send_last_records(&self, says_end: bool) -> io::Result<()> {
        let Transport::Connection(connection) = &self.0.transport else { return Ok(()) };
        let Some(tls) = connection.tls().filter(|tls| tls.is_established()) else { return Ok(()) };
        loop {
            let flushed = tls.flush(connection.records());
            match &flushed {
                Ok(()) if !says_end || tls.is_closed() => return Ok(()),
                Ok(()) | Err(TransferError::WouldBlock(_)) => {}
                Err(TransferError::Failed(_)) => return Ok(()),
            }
            let wait = self.0.deadlines.begin_wait(None);
            let polled = wait_for(connection.as_fd(), Interest::Writable, 0, wait.deadline).await?;
            self.0.deadlines.end_wait(&wait, polled)?;
            if flushed.is_ok() {
                return Ok(());
            }
        }
    }

    /// Returns true if the connection has TLS, and ended before the client said that it sends no
    /// more: an attacker may have cut it off. The handler sees the end of the stream.
    pub fn was_truncated(&self) -> bool {
        match &self.0.transport {
            Transport::Connection(connection) => {
                connection.tls().is_some_and(Secured::is_truncated)
            }
            _ => false,
        }
    }

    /// Returns the directions in which to wait for the descriptor, so that the connection becomes
    /// ready in the directions `wanted`: with TLS, data that the kernel has not taken yet must
    /// leave too.
    pub fn awaited_directions(&self, wanted: Readiness) -> Readiness {
        match &self.0.transport {
            Transport::Connection(connection)
                if connection.tls().is_some_and(Secured::has_unsent) =>
            {
                Readiness { writable: true, ..wanted }
            }
            _ => wanted,
        }
    }

    /// Returns true if a connection with TLS is ready; `None` if it has none.
    pub(super) fn is_session_ready(&self, wanted: Readiness) -> Option<io::Result<bool>> {
        let Transport::Connection(connection) = &self.0.transport else { return None };
        let tls = connection.tls()?;
        let ready = tls.readiness(connection.records());
        if wanted.readable && ready.readable {
            return Some(Ok(true));
        }
        let writable = Readiness { readable: false, writable: true };
        Some(if wanted.writable && ready.writable {
            wait::is_ready(connection.as_fd(), writable)
        } else {
            Ok(false)
        })
    }
}

/// Shuts a connection with TLS down, as `shutdown(2)` does.
pub(super) fn shutdown(tls: &Secured, records: Records<'_>, how: Shutdown) -> io::Result<()> {
    let socket = records.socket;
    if how != Shutdown::Read {
        match tls.close(records) {
            // The rest leaves at the end of the request, which then ends the socket's side.
            Err(TransferError::WouldBlock(_)) if how == Shutdown::Both => {
                return socket.shutdown(Shutdown::Read);
            }
            Err(TransferError::WouldBlock(_)) => return Ok(()),
            Err(TransferError::Failed(error)) => return Err(error),
            Ok(()) => {}
        }
    }
    socket.shutdown(how)
}
