use crate::bindings::socketserver::handler::{sockets, types::ShutdownHow};
use crate::{Address, Error};
use std::io;
use std::rc::Rc;
use std::time::Duration;

pub use std::net::Shutdown;

/// The request socket: Python's `self.request`.
///
/// The host owns the connection. It closes it after `finish`, so a handler
/// need not; dropping a `Socket` closes nothing. A clone is another name for
/// the same socket, as in Python.
///
/// The socket of a datagram request is the server's: it has
/// [`sendto`](Self::sendto), [`getsockname`](Self::getsockname) and what belongs
/// to timeouts and options; the calls of a connection fail, because the
/// datagrams of other clients are in it.
///
/// Calls that wait are bounded twice: by the timeout that the handler set with
/// [`settimeout`](Self::settimeout), which is [`Error::TimedOut`], and by the
/// idle timeout of the operator, which ends the request.
///
/// [`io::Read`] and [`io::Write`] are there on `Socket` and on `&Socket`, with
/// no buffer between: wrap it in [`io::BufReader`] to read lines. Writing all
/// of a buffer is one [`sendall`](Self::sendall); flushing does nothing.
#[derive(Clone, Debug)]
pub struct Socket(Rc<sockets::Socket>);

impl Socket {
    pub(crate) fn new(resource: sockets::Socket) -> Self {
        Self(Rc::new(resource))
    }

    /// Receives at most `bufsize` bytes: waits for the first, then returns what
    /// is there, which the host may cut short. Nothing means that the other end
    /// has finished sending (or that `bufsize` is 0). Python's `recv(bufsize)`.
    pub fn recv(&self, bufsize: usize) -> Result<Vec<u8>, Error> {
        Ok(self.0.recv(u32::try_from(bufsize).unwrap_or(u32::MAX))?)
    }

    /// Sends as much of `data` as the socket takes and returns how many bytes
    /// that was, which may be fewer than there are. Python's `send(bytes)`.
    pub fn send(&self, data: &[u8]) -> Result<usize, Error> {
        Ok(self.0.send(data)? as usize)
    }

    /// Sends all of `data`, of any size. The timeout, if there is one, is for
    /// the whole call; after an error nobody knows how much was sent. Python's
    /// `sendall(bytes)`.
    pub fn sendall(&self, data: &[u8]) -> Result<(), Error> {
        Ok(self.0.sendall(data)?)
    }

    /// Sends `data` as one datagram to `address` and returns how many bytes that
    /// was: all of them. It leaves from the server's own socket, so that a
    /// client that is connected to the server accepts it. Python's
    /// `sendto(bytes, address)`.
    ///
    /// Any address but that of the request's client is [`Error::Denied`] unless
    /// the operator grants it, and a reply longer than the transport carries is
    /// [`Error::MessageTooLong`]. On a connection the address is not looked at.
    pub fn sendto(&self, data: &[u8], address: &Address) -> Result<usize, Error> {
        Ok(self.0.sendto(data, &address.into())? as usize)
    }

    /// Shuts down one half of the connection or both. Python's
    /// `shutdown(how)`, whose `SHUT_RD`, `SHUT_WR` and `SHUT_RDWR` are `Read`,
    /// `Write` and `Both`.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Error> {
        Ok(self.0.shutdown(match how {
            Shutdown::Read => ShutdownHow::ShutRd,
            Shutdown::Write => ShutdownHow::ShutWr,
            Shutdown::Both => ShutdownHow::ShutRdwr,
        })?)
    }

    /// Gives the socket up: the other end sees the end of the connection and
    /// every later call fails with [`Error::Closed`]. Closing twice is not an
    /// error. Python's `close()`.
    pub fn close(&self) {
        self.0.close();
    }

    /// The address of the other end. Python's `getpeername()`.
    pub fn getpeername(&self) -> Result<Address, Error> {
        Ok(self.0.getpeername()?.into())
    }

    /// The address of this end. Python's `getsockname()`.
    pub fn getsockname(&self) -> Result<Address, Error> {
        Ok(self.0.getsockname()?.into())
    }

    /// Sets how long each later call that receives or sends may wait: `None`
    /// for without end, zero for not at all ([`Error::WouldBlock`]), anything
    /// else for that long ([`Error::TimedOut`]). Python's `settimeout(value)`.
    pub fn settimeout(&self, timeout: Option<Duration>) -> Result<(), Error> {
        Ok(self.0.settimeout(timeout.map(|timeout| timeout.as_secs_f64()))?)
    }

    /// What [`settimeout`](Self::settimeout) set; `None` at first. Python's
    /// `gettimeout()`.
    pub fn gettimeout(&self) -> Option<Duration> {
        self.0.gettimeout().map(duration)
    }

    /// The value of an option, such as
    /// [`SO_ERROR`](crate::options::SO_ERROR) at the level
    /// [`SOL_SOCKET`](crate::options::SOL_SOCKET). One that the host does not
    /// let handlers read is [`Error::NoProtocolOption`]. Python's
    /// `getsockopt(level, optname)`.
    pub fn getsockopt(&self, level: i32, optname: i32) -> Result<i32, Error> {
        Ok(self.0.getsockopt(level, optname)?)
    }

    /// Sets an option. One that the host does not let handlers set is
    /// [`Error::Denied`] if it may be read, and [`Error::NoProtocolOption`] if
    /// not. Python's `setsockopt(level, optname, value)`.
    pub fn setsockopt(&self, level: i32, optname: i32, value: i32) -> Result<(), Error> {
        Ok(self.0.setsockopt(level, optname, value)?)
    }

    /// A number that tells this socket from the handler's others, and -1 once
    /// it is closed. It is no descriptor: a handler has none. Python's
    /// `fileno()`.
    pub fn fileno(&self) -> i32 {
        self.0.fileno()
    }
}

/// A number of seconds from the host, which are zero or more.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

impl io::Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let data = self.recv(buffer.len())?;
        io::Read::read(&mut data.as_slice(), buffer)
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
    fn takes_any_number_of_seconds() {
        assert_eq!(duration(0.0), Duration::ZERO);
        assert_eq!(duration(0.5), Duration::from_millis(500));
        assert_eq!(duration(f64::INFINITY), Duration::MAX);
    }
}
