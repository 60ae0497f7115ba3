//! The transport of a request: its connection, or its datagram and the socket to reply
//! on.
//!
//! Only this file moves the bytes of a request. [`Request`](super::Request) adds
//! deadlines, limits and Python's names. A stream that is not a bare socket, such as
//! TLS or a stream behind a PROXY protocol header, belongs in [`Connection`], whose
//! methods never block: they return [`TransferError::WouldBlock`] with the event to wait
//! for, which need not be the direction of the call.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{SockAddr, Socket};

use super::Request;
use super::credentials::PeerCredentials;
use super::opened::Opened;
use super::secured::{Records, Secured};
use super::sockopt::Linger;
use super::wait::Interest;
use crate::address::Address;
use crate::listen::descriptor_passing::PassedDescriptors;
use crate::listen::packet_info::{self, Destination};
use crate::listen::sys;
use crate::tls::TlsServer;

/// The reason for which a call on a transport moved no byte.
#[derive(Debug)]
pub(crate) enum TransferError {
    /// The call can be repeated after this event.
    WouldBlock(Interest),
    /// The call failed.
    Failed(io::Error),
}

pub(super) type Transfer<T> = Result<T, TransferError>;

/// The transport of one request.
#[derive(Debug)]
pub(super) enum Transport {
    Connection(Connection),
    Datagram(Datagram),
    /// A socket that the handler has opened.
    Opened(Opened),
    /// A socket that the handler has opened and closed. Its request stands in for it where a
    /// descriptor is needed, although every call fails before it reaches one.
    Closed(Request),
}

impl Transport {
    /// Returns the socket for calls that are the same for both transports, such as
    /// `getsockname(2)`.
    pub(super) fn socket(&self) -> &Socket {
        match self {
            Transport::Connection(connection) => &connection.socket,
            Transport::Datagram(datagram) => &datagram.socket,
            Transport::Opened(opened) => &opened.connection.socket,
            Transport::Closed(request) => request.0.transport.socket(),
        }
    }

    /// Returns the connection, or `EOPNOTSUPP` for a datagram, whose socket belongs to
    /// the server.
    pub(super) fn connection(&self) -> io::Result<&Connection> {
        match self {
            Transport::Connection(connection) => Ok(connection),
            Transport::Opened(opened) => Ok(&opened.connection),
            Transport::Datagram(_) => Err(Errno::OPNOTSUPP.into()),
            Transport::Closed(_) => Err(Errno::BADF.into()),
        }
    }

    /// Sends as much of `data` as the socket takes.
    pub(super) fn send(&self, data: &[u8], flags: SendFlags) -> Transfer<usize> {
        if let Transport::Connection(connection) = self
            && let Some(tls) = connection.tls()
        {
            return tls.send(connection.records(), data);
        }
        uninterrupted(Interest::Writable, || rustix::net::send(self.socket(), data, flags))
    }
}

/// The connection of a stream request.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    /// The treatment of descriptors that the client passes.
    passed: PassedDescriptors,
    /// Set if the connection ends with a reset.
    resets: AtomicBool,
    /// Set if a forked child has the connection too, and may be receiving from it.
    left_to_child: AtomicBool,
    /// The error, an `errno`, that the next call that receives returns; or 0. The call that
    /// met it returned data.
    deferred_error: AtomicI32,
    /// Set if the open file has `O_NONBLOCK`.
    nonblocking: AtomicBool,
    /// The seconds of an `SO_LINGER` that the kernel does not have, because its close would
    /// wait; or 0.
    lingers_for: AtomicI32,
    /// Set if the bytes of the handler go through TLS.
    tls: Option<Box<Secured>>,
}

impl Connection {
    pub(super) fn new(socket: Socket, passed: PassedDescriptors) -> Self {
        Connection {
            socket,
            passed,
            resets: AtomicBool::new(false),
            left_to_child: AtomicBool::new(false),
            deferred_error: AtomicI32::new(0),
            nonblocking: AtomicBool::new(false),
            lingers_for: AtomicI32::new(0),
            tls: None,
        }
    }

    pub(super) fn set_tls(&mut self, server: TlsServer) {
        self.tls = Some(Box::new(Secured::new(server)));
    }

    pub(super) fn tls(&self) -> Option<&Secured> {
        self.tls.as_deref()
    }

    /// Returns the socket, for the records of TLS.
    pub(super) fn records(&self) -> Records<'_> {
        Records { socket: &self.socket, passed: self.passed }
    }

    /// Returns true if the connection ends with a reset.
    pub(super) fn resets(&self) -> bool {
        self.resets.load(Ordering::Relaxed)
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Receives into the spare capacity of `data`, and returns the number of bytes; 0 at
    /// the end of the stream. With `peek` the bytes stay in the socket.
    pub(super) fn recv(&self, data: &mut Vec<u8>, peek: bool) -> Transfer<usize> {
        self.take_deferred_error()?;
        if let Some(tls) = self.tls() {
            return tls.receive(self.records(), peek, |plain| {
                let count = plain.len().min(data.capacity() - data.len());
                data.extend_from_slice(&plain[..count]);
                count
            });
        }
        self.recv_from_socket(data, peek)
    }

    /// Receives as [`recv`](Self::recv), and never through TLS.
    pub(super) fn recv_from_socket(&self, data: &mut Vec<u8>, peek: bool) -> Transfer<usize> {
        let flags = if peek { RecvFlags::DONTWAIT | RecvFlags::PEEK } else { RecvFlags::DONTWAIT };
        uninterrupted(Interest::Readable, || {
            if self.passed.may_come() {
                return self.passed.receive(self.as_fd(), data, flags);
            }
            rustix::net::recv(&self.socket, spare_capacity(data), flags).map(|(_, count)| count)
        })
    }

    /// Receives a datagram into the spare capacity of `data`, and returns its sender. Passed
    /// descriptors are closed.
    pub(super) fn receive_from(&self, data: &mut Vec<u8>, peek: bool) -> Transfer<SockAddr> {
        let flags = if peek { RecvFlags::DONTWAIT | RecvFlags::PEEK } else { RecvFlags::DONTWAIT };
        uninterrupted(Interest::Readable, || {
            let message = sys::receive_message(self.socket.as_fd(), data, flags, true)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            self.passed.close(message.descriptors);
            Ok(message.address)
        })
    }

    /// Keeps an error for the next call that receives, if it is one of the kernel.
    pub(super) fn defer_error(&self, error: &io::Error) {
        self.deferred_error.store(error.raw_os_error().unwrap_or(0), Ordering::Relaxed);
    }

    fn take_deferred_error(&self) -> Transfer<()> {
        if self.deferred_error.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let errno = self.deferred_error.swap(0, Ordering::Relaxed);
        Err(TransferError::Failed(io::Error::from_raw_os_error(errno)))
    }

    /// Sends at most `count` bytes of a file from `offset` on, and returns the number of
    /// bytes; 0 at the end of the file.
    pub(super) fn sendfile(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> Transfer<usize> {
        if let Some(tls) = self.tls() {
            return tls.send_file(self.records(), file, offset, count);
        }
        // `sendfile(2)` has no flag for this.
        if !self.nonblocking.load(Ordering::Relaxed) {
            rustix::io::ioctl_fionbio(&self.socket, true)
                .map_err(|error| TransferError::Failed(error.into()))?;
            self.nonblocking.store(true, Ordering::Relaxed);
        }
        uninterrupted(Interest::Writable, || {
            let mut at = offset;
            rustix::fs::sendfile(&self.socket, file, Some(&mut at), count)
        })
    }

    /// Sets `SO_LINGER`, without letting the close wait.
    pub(super) fn set_linger(&self, linger: Linger) -> io::Result<()> {
        let waits = linger.on != 0 && linger.seconds != 0;
        let reset = linger.on != 0 && linger.seconds == 0;
        self.socket.set_linger(reset.then_some(Duration::ZERO))?;
        self.lingers_for.store(if waits { linger.seconds } else { 0 }, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the `SO_LINGER` that the kernel does not have.
    pub(super) fn linger(&self) -> Option<Linger> {
        let seconds = self.lingers_for.load(Ordering::Relaxed);
        (seconds != 0).then_some(Linger { on: 1, seconds })
    }

    /// Receives into `buffer`, as [`recv`](Self::recv).
    pub(super) fn recv_into(&self, buffer: &mut [u8]) -> Transfer<usize> {
        self.take_deferred_error()?;
        if let Some(tls) = self.tls() {
            return tls.receive(self.records(), false, |plain| {
                let count = plain.len().min(buffer.len());
                buffer[..count].copy_from_slice(&plain[..count]);
                count
            });
        }
        if self.passed.may_come() {
            let mut data = Vec::with_capacity(buffer.len());
            let count = self.recv(&mut data, false)?.min(buffer.len());
            buffer[..count].copy_from_slice(&data[..count]);
            return Ok(count);
        }
        uninterrupted(Interest::Readable, || {
            let received = rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT);
            received.map(|(_, count)| count)
        })
    }

    /// Returns true if there is data to receive, and false at the end of the stream.
    pub(super) fn has_data(&self) -> Transfer<bool> {
        if let Some(tls) = self.tls() {
            return tls.receive(self.records(), true, <[u8]>::len).map(|count| count > 0);
        }
        uninterrupted(Interest::Readable, || self.peek()).map(|count| count > 0)
    }

    fn peek(&self) -> rustix::io::Result<usize> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        rustix::net::recv(&self.socket, &mut [0; 1], flags).map(|(_, count)| count)
    }

    /// Returns true if the client has reset the connection and nothing is left to
    /// receive. The kernel reports a reset once, so the next call on the socket does not
    /// see it. If the client had ended its sending side before, the kernel does not
    /// report the reset to `recv(2)`, but in `SO_ERROR`.
    pub(super) fn is_reset(&self) -> bool {
        if self.deferred_error.load(Ordering::Relaxed) == Errno::CONNRESET.raw_os_error() {
            return true;
        }
        match self.peek() {
            Err(error) => error == Errno::CONNRESET,
            Ok(0) => matches!(self.socket.take_error(), Ok(Some(_))),
            Ok(_) => false,
        }
    }

    /// Makes the close of the connection a reset, except on a Unix socket.
    pub(super) fn reset_on_close(&self) {
        if self.socket.set_linger(Some(Duration::ZERO)).is_ok()
            && !matches!(self.socket.local_addr(), Ok(address) if address.is_unix())
        {
            self.resets.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    /// Ends the sending side after the handler, unless the connection ends with a reset.
    pub(super) fn end_sending(&self) {
        if !self.resets.load(Ordering::Relaxed) {
            // The handler or the other end may have shut it down already.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    /// Leaves the connection, and all data in it, to a forked child.
    pub(super) fn leave_to_child(&self) {
        self.left_to_child.store(true, Ordering::Relaxed);
    }

    pub(super) fn peer_credentials(&self) -> Option<PeerCredentials> {
        PeerCredentials::of_connection(self.as_fd())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.passed.may_come() && !self.left_to_child.load(Ordering::Relaxed) {
            self.passed.drain(self.socket.as_fd());
        }
    }
}

/// A datagram, and the socket of the server that received it.
#[derive(Debug)]
pub(super) struct Datagram {
    pub data: Vec<u8>,
    pub socket: Arc<Socket>,
    /// The sender of a Unix datagram.
    pub sender: Option<PeerCredentials>,
    /// The address of this machine that the datagram was sent to, if the socket has
    /// several.
    pub destination: Option<Destination>,
}

impl Datagram {
    /// Sends all of `data` as one datagram to `address`, which is `kernel_address` for
    /// the kernel. The datagram leaves from the address that the request was sent to,
    /// if the kernel allows that.
    pub(super) fn send_to(
        &self,
        data: &[u8],
        address: &Address,
        kernel_address: &SockAddr,
    ) -> Transfer<usize> {
        let interest = match address {
            Address::Inet(_) | Address::Inet6(_) => Interest::Writable,
            Address::Unix(_) => Interest::PeerHasRoom,
        };
        let source = self.destination.filter(|destination| destination.unicast().is_some());
        let source = source.zip(address.to_socket_addr());
        uninterrupted(interest, || {
            if let Some((from, to)) = source {
                let sent = packet_info::send(self.socket.as_fd(), data, to, from);
                if !sent.is_err_and(packet_info::needs_another_source) {
                    return sent;
                }
            }
            let sent = self.socket.send_to(data, kernel_address);
            sent.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })
    }
}

/// Repeats a call that does not block until no signal interrupts it.
pub(super) fn uninterrupted<T>(
    interest: Interest,
    mut call: impl FnMut() -> rustix::io::Result<T>,
) -> Transfer<T> {
    loop {
        match call() {
            Ok(value) => return Ok(value),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(TransferError::WouldBlock(interest)),
            Err(error) => return Err(TransferError::Failed(error.into())),
        }
    }
}
