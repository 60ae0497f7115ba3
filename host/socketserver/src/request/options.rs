//! The options of the socket of a request.

use std::io::Result;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::Request;
use super::opened::Opened;
use super::sockopt;
use super::transport::Connection;

/// The most bytes of one option, as in Python.
const MAX_OPTION: usize = 1024;

impl Request {
    /// Returns the value of an option: Python's `getsockopt` with two arguments.
    /// `level` and `optname` are the numbers of Linux. `docs/src/python/socket.md` lists the
    /// options.
    ///
    /// # Errors
    ///
    /// `EACCES` for an option that is not in the list, `EBADF` if the handler closed the
    /// request, or the errors of `getsockopt(2)`: Unix sockets have no `TCP_NODELAY`
    /// (`EOPNOTSUPP`).
    pub fn getsockopt(&self, level: i32, optname: i32) -> Result<i32> {
        let mut value = [0; 4];
        self.read_option(level, optname, &mut value)?;
        Ok(i32::from_ne_bytes(value))
    }

    /// Returns the value of an option as at most `buflen` bytes: Python's `getsockopt` with
    /// three arguments.
    ///
    /// # Errors
    ///
    /// As [`getsockopt`](Self::getsockopt), and `EINVAL` unless `buflen` is at least 1 and at
    /// most 1024.
    pub fn getsockopt_bytes(&self, level: i32, optname: i32, buflen: usize) -> Result<Vec<u8>> {
        self.check_open()?;
        if !(1..=MAX_OPTION).contains(&buflen) {
            return Err(Errno::INVAL.into());
        }
        let mut value = vec![0; buflen];
        let length = self.read_option(level, optname, &mut value)?;
        value.truncate(length);
        Ok(value)
    }

    /// Sets an option of a connection to a number. Python's `setsockopt`.
    ///
    /// The kernel lowers the size of a buffer that is too large (`SO_RCVBUF`, `SO_SNDBUF`),
    /// and so does this function.
    ///
    /// # Errors
    ///
    /// `EACCES` for an option that handlers may not set, `EINVAL` for a value that it cannot
    /// have, `EOPNOTSUPP` for a datagram, `EBADF` if the handler closed the request, or the
    /// errors of `setsockopt(2)`: Unix sockets have no `TCP_NODELAY` (`EOPNOTSUPP`).
    pub fn setsockopt(&self, level: i32, optname: i32, value: i32) -> Result<()> {
        self.setsockopt_bytes(level, optname, &value.to_ne_bytes())
    }

    /// Sets an option of a connection to bytes. Python's `setsockopt` with a value of bytes.
    ///
    /// `SO_LINGER` takes two numbers, `struct.pack("ii", on, seconds)`. With 0 seconds the
    /// connection ends with a reset, as in Python. With more seconds the close does not wait:
    /// the kernel goes on to send what is left, as without the option.
    ///
    /// # Errors
    ///
    /// As [`setsockopt`](Self::setsockopt), and `EINVAL` for too few bytes.
    pub fn setsockopt_bytes(&self, level: i32, optname: i32, value: &[u8]) -> Result<()> {
        self.check_open()?;
        let connection = self.0.transport.connection()?;
        if sockopt::is_linger(level, optname) {
            return connection.set_linger(sockopt::linger(value)?);
        }
        let is_own_stream = self.opened().is_ok_and(Opened::is_stream);
        sockopt::set(connection.as_fd(), is_own_stream, level, optname, value)
    }

    fn read_option(&self, level: i32, optname: i32, value: &mut [u8]) -> Result<usize> {
        self.check_open()?;
        if sockopt::is_linger(level, optname)
            && let Some(linger) = self.0.transport.connection().ok().and_then(Connection::linger)
        {
            let both = [linger.on.to_ne_bytes(), linger.seconds.to_ne_bytes()].concat();
            let length = both.len().min(value.len());
            value[..length].copy_from_slice(&both[..length]);
            return Ok(length);
        }
        sockopt::get(self.as_fd(), level, optname, value)
    }
}
