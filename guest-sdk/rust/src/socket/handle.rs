use crate::bindings::socketserver::handler::{sockets, types::ShutdownHow};
use crate::{Address, AddressFamily, Error, SocketKind};
use std::io;
use std::rc::Rc;
use std::time::Duration;

pub use std::net::Shutdown;

/// The request socket: Python's `self.request`.
///
/// The host owns the connection and closes it after `finish`. Dropping a `Socket` does
/// not close the connection. A clone refers to the same socket, as in Python.
///
/// The socket of a datagram request is the server's socket, which also receives the
/// datagrams of other clients. [`sendto`](Self::sendto),
/// [`getsockname`](Self::getsockname) and the methods for timeouts and options work on
/// it; the methods for connections fail.
///
/// Every call that waits has two limits. The first is the timeout that the handler set
/// with [`settimeout`](Self::settimeout): when it expires the call returns
/// [`Error::TimedOut`]. The second is the operator's idle timeout, which ends the
/// request.
///
/// `Socket` and `&Socket` implement [`io::Read`] and [`io::Write`] without a buffer: to
/// read lines, wrap the socket in an [`io::BufReader`]. `write_all` is one
/// [`sendall`](Self::sendall), and `flush` does nothing.
#[derive(Clone, Debug)]
pub struct Socket(pub(super) Rc<sockets::Socket>);

impl Socket {
    pub(crate) fn new(resource: sockets::Socket) -> Self {
        Self(Rc::new(resource))
    }

    pub(crate) fn resource(&self) -> &sockets::Socket {
        &self.0
    }

    /// Waits for data and returns at most `bufsize` bytes of it. Python's
    /// `recv(bufsize)`.
    ///
    /// The host may return fewer bytes than are available. An empty result means that
    /// the other end has finished sending, or that `bufsize` is 0.
    ///
    /// # Errors
    ///
    /// Returns the error of `recv(2)`, or [`Error::NotSupported`] on the socket of a
    /// datagram request.
    pub fn recv(&self, bufsize: usize) -> Result<Vec<u8>, Error> {
        Ok(self.0.recv(u32::try_from(bufsize).unwrap_or(u32::MAX))?)
    }

    /// Receives as [`recv`](Self::recv), with a sum of flags:
    /// [`MSG_PEEK`](crate::socket::MSG_PEEK), [`MSG_DONTWAIT`](crate::socket::MSG_DONTWAIT),
    /// [`MSG_WAITALL`](crate::socket::MSG_WAITALL),
    /// [`MSG_NOSIGNAL`](crate::socket::MSG_NOSIGNAL). Python's `recv(bufsize, flags)`.
    ///
    /// With `MSG_WAITALL` the host still returns no more than its limit for one call
    /// (256 KiB).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv`](Self::recv), [`Error::WouldBlock`] with
    /// `MSG_DONTWAIT`, and [`Error::NotSupported`] for any other flag.
    pub fn recv_with_flags(&self, bufsize: usize, flags: i32) -> Result<Vec<u8>, Error> {
        Ok(self.0.recv_with_flags(u32::try_from(bufsize).unwrap_or(u32::MAX), flags)?)
    }

    /// Receives into `buffer` and returns the number of bytes, 0 at the end. `flags` are
    /// those of [`recv_with_flags`](Self::recv_with_flags), or 0. Python's
    /// `recv_into(buffer, nbytes, flags)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv_with_flags`](Self::recv_with_flags).
    pub fn recv_into(&self, buffer: &mut [u8], flags: i32) -> Result<usize, Error> {
        let data = self.recv_with_flags(buffer.len(), flags)?;
        let count = data.len().min(buffer.len());
        buffer[..count].copy_from_slice(&data[..count]);
        Ok(count)
    }

    /// Receives as [`recv_with_flags`](Self::recv_with_flags), and returns the address of
    /// the sender too. As in Python on Linux, a connection has none, except that of a
    /// Unix socket with a name. Python's `recvfrom(bufsize, flags)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`recv_with_flags`](Self::recv_with_flags).
    pub fn recvfrom(
        &self,
        bufsize: usize,
        flags: i32,
    ) -> Result<(Vec<u8>, Option<Address>), Error> {
        let bufsize = u32::try_from(bufsize).unwrap_or(u32::MAX);
        let (data, sender) = self.0.recvfrom(bufsize, flags)?;
        Ok((data, sender.map(Into::into)))
    }

    /// Sends as much of `data` as the socket accepts and returns the number of bytes
    /// sent, which may be less than the length of `data`. Python's `send(bytes)`.
    ///
    /// # Errors
    ///
    /// Returns the error of `send(2)`, such as [`Error::DestinationAddressRequired`] on
    /// the socket of a datagram request.
    pub fn send(&self, data: &[u8]) -> Result<usize, Error> {
        Ok(self.0.send(data)? as usize)
    }

    /// Sends all of `data`, of any length. A timeout applies to the whole call.
    /// Python's `sendall(bytes)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send). After an error the number of bytes
    /// sent is unknown.
    pub fn sendall(&self, data: &[u8]) -> Result<(), Error> {
        Ok(self.0.sendall(data)?)
    }

    /// Sends as [`send`](Self::send), with a sum of flags:
    /// [`MSG_DONTWAIT`](crate::socket::MSG_DONTWAIT), [`MSG_MORE`](crate::socket::MSG_MORE),
    /// [`MSG_NOSIGNAL`](crate::socket::MSG_NOSIGNAL). Python's `send(bytes, flags)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send), [`Error::WouldBlock`] with
    /// `MSG_DONTWAIT`, and [`Error::NotSupported`] for any other flag.
    pub fn send_with_flags(&self, data: &[u8], flags: i32) -> Result<usize, Error> {
        Ok(self.0.send_with_flags(data, flags)? as usize)
    }

    /// Sends as [`sendall`](Self::sendall), with the flags of
    /// [`send_with_flags`](Self::send_with_flags). Python's `sendall(bytes, flags)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_with_flags`](Self::send_with_flags). The number of
    /// bytes sent is then unknown.
    pub fn sendall_with_flags(&self, data: &[u8], flags: i32) -> Result<(), Error> {
        Ok(self.0.sendall_with_flags(data, flags)?)
    }

    /// Sends `data` as one datagram to `address` and returns the length of `data`.
    /// Python's `sendto(bytes, address)`.
    ///
    /// The datagram leaves from the server's socket, so a client that is connected to
    /// the server accepts it. On a connection the address is ignored.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Denied`] for an address other than the client's;
    /// [`Error::MessageTooLong`] for a datagram that is longer than the transport can
    /// carry; and the other errors of `sendto(2)`.
    pub fn sendto(&self, data: &[u8], address: &Address) -> Result<usize, Error> {
        Ok(self.0.sendto(data, &address.into())? as usize)
    }

    /// Sends as [`sendto`](Self::sendto), with the flags of
    /// [`send_with_flags`](Self::send_with_flags). Python's
    /// `sendto(bytes, flags, address)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`sendto`](Self::sendto) and of
    /// [`send_with_flags`](Self::send_with_flags). `MSG_MORE` is
    /// [`Error::NotSupported`] on the socket of a datagram request.
    pub fn sendto_with_flags(
        &self,
        data: &[u8],
        flags: i32,
        address: &Address,
    ) -> Result<usize, Error> {
        Ok(self.0.sendto_with_flags(data, flags, &address.into())? as usize)
    }

    /// Shuts down one half of the connection or both. Python's `shutdown(how)`, whose
    /// `SHUT_RD`, `SHUT_WR` and `SHUT_RDWR` are `Read`, `Write` and `Both`.
    ///
    /// # Errors
    ///
    /// Returns the error of `shutdown(2)`, or [`Error::NotSupported`] on the socket of a
    /// datagram request.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Error> {
        Ok(self.0.shutdown(match how {
            Shutdown::Read => ShutdownHow::ShutRd,
            Shutdown::Write => ShutdownHow::ShutWr,
            Shutdown::Both => ShutdownHow::ShutRdwr,
        })?)
    }

    /// Closes the socket. The other end sees the end of the connection, and every later
    /// call fails with [`Error::Closed`]. Closing twice is not an error. Python's
    /// `close()`.
    pub fn close(&self) {
        self.0.close();
    }

    /// Returns the address of the other end. Python's `getpeername()`.
    ///
    /// # Errors
    ///
    /// Returns the error of `getpeername(2)`, such as [`Error::NotConnected`].
    pub fn getpeername(&self) -> Result<Address, Error> {
        Ok(self.0.getpeername()?.into())
    }

    /// Returns the address of this end. Python's `getsockname()`.
    ///
    /// # Errors
    ///
    /// Returns the error of `getsockname(2)`, or [`Error::Closed`].
    pub fn getsockname(&self) -> Result<Address, Error> {
        Ok(self.0.getsockname()?.into())
    }

    /// Sets the timeout of every later call that receives or sends. Python's
    /// `settimeout(value)`.
    ///
    /// With `None` a call waits without limit. With zero it returns
    /// [`Error::WouldBlock`] instead of waiting. Otherwise it returns
    /// [`Error::TimedOut`] when the timeout expires.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Closed`] if the socket is closed.
    pub fn settimeout(&self, timeout: Option<Duration>) -> Result<(), Error> {
        Ok(self.0.settimeout(timeout.map(|timeout| timeout.as_secs_f64()))?)
    }

    /// Returns the timeout that [`settimeout`](Self::settimeout) set, initially `None`.
    /// Python's `gettimeout()`.
    pub fn gettimeout(&self) -> Option<Duration> {
        self.0.gettimeout().map(duration)
    }

    /// Sets the timeout to none if `flag` is true, and to zero if it is false: calls then
    /// return [`Error::WouldBlock`] instead of waiting. Python's `setblocking(flag)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`settimeout`](Self::settimeout).
    pub fn setblocking(&self, flag: bool) -> Result<(), Error> {
        self.settimeout(if flag { None } else { Some(Duration::ZERO) })
    }

    /// Returns false if the timeout is zero. Python's `getblocking()`.
    pub fn getblocking(&self) -> bool {
        self.gettimeout() != Some(Duration::ZERO)
    }

    /// Returns the value of an option, such as [`SO_ERROR`](crate::socket::SO_ERROR) at
    /// the level [`SOL_SOCKET`](crate::socket::SOL_SOCKET). Python's
    /// `getsockopt(level, optname)`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Denied`] if handlers may not read the option, and
    /// [`Error::NotSupported`] or [`Error::NoProtocolOption`] if the socket does not have
    /// it.
    pub fn getsockopt(&self, level: i32, optname: i32) -> Result<i32, Error> {
        Ok(self.0.getsockopt(level, optname)?)
    }

    /// Returns the value of an option as at most `buflen` bytes, 1 to 1024. Python's
    /// `getsockopt(level, optname, buflen)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`getsockopt`](Self::getsockopt), and
    /// [`Error::InvalidArgument`] for any other `buflen`.
    pub fn getsockopt_bytes(
        &self,
        level: i32,
        optname: i32,
        buflen: usize,
    ) -> Result<Vec<u8>, Error> {
        let buflen = u32::try_from(buflen).unwrap_or(u32::MAX);
        Ok(self.0.getsockopt_bytes(level, optname, buflen)?)
    }

    /// Sets an option. Python's `setsockopt(level, optname, value)`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Denied`] if handlers may not set the option,
    /// [`Error::InvalidArgument`] for a value that it cannot have, and
    /// [`Error::NotSupported`] or [`Error::NoProtocolOption`] if the socket does not have
    /// it.
    pub fn setsockopt(&self, level: i32, optname: i32, value: i32) -> Result<(), Error> {
        Ok(self.0.setsockopt(level, optname, value)?)
    }

    /// Sets an option to bytes, such as the two numbers of
    /// [`SO_LINGER`](crate::socket::SO_LINGER). Python's
    /// `setsockopt(level, optname, bytes)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`setsockopt`](Self::setsockopt), and
    /// [`Error::InvalidArgument`] for too few bytes.
    pub fn setsockopt_bytes(&self, level: i32, optname: i32, value: &[u8]) -> Result<(), Error> {
        Ok(self.0.setsockopt_bytes(level, optname, value)?)
    }

    /// Returns the address family. Python's attribute `family`.
    pub fn family(&self) -> AddressFamily {
        self.0.family().into()
    }

    /// Returns the type. Python's attribute `type`.
    pub fn socket_type(&self) -> SocketKind {
        self.0.socket_type().into()
    }

    /// Returns the protocol that the socket was created with: 0, the default, for a request
    /// socket. Python's attribute `proto`.
    pub fn proto(&self) -> i32 {
        self.0.proto()
    }

    /// Returns a number that identifies this socket among the handler's sockets, or -1
    /// if the socket is closed. The number is not a file descriptor. Python's
    /// `fileno()`.
    pub fn fileno(&self) -> i32 {
        self.0.fileno()
    }
}

/// Converts seconds from the host, which are zero or more and may be infinite.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

impl io::Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_into(buffer, 0)?)
    }
}

impl io::Write for &Socket {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(self.send(data)?)
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        Ok(self.sendall(data)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl io::Write for Socket {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        (&*self).write_all(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_convert_to_a_duration_and_infinity_to_the_longest() {
        assert_eq!(duration(0.0), Duration::ZERO);
        assert_eq!(duration(0.5), Duration::from_millis(500));
        assert_eq!(duration(f64::INFINITY), Duration::MAX);
    }
}
