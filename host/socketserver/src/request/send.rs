//! Sending.
//!
//! Each call is written once, as an async function. The function of the same name without
//! `_async` blocks.

use std::io;

use rustix::io::Errno;

use super::Request;
use super::flags::SendingFlags;
use super::io::CallWait;
use super::traffic::SendLimit;
use super::transport::Transport;
use super::wait::block_on;
use crate::address::{Address, UnixAddress};

impl Request {
    /// Sends as much of `data` as the socket takes and returns the number of bytes.
    /// Python's `send`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), with the errors of `send(2)`, and [`SendLimit`] if the
    /// request may send no more.
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        block_on(self.send_async(data))
    }

    /// Sends as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_async(&self, data: &[u8]) -> io::Result<usize> {
        self.send_part(data, SendingFlags::default(), self.begin_call(false)).await
    }

    /// Sends as [`send`](Self::send), with flags by the numbers of Linux. Python's `send`
    /// with two arguments.
    ///
    /// - `MSG_DONTWAIT`: the call does not wait, as with a timeout of zero. As in CPython it has
    ///   no effect if there is a timeout.
    /// - `MSG_MORE`: more data follows, so TCP may wait to fill a segment.
    /// - `MSG_NOSIGNAL`: no effect.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and `EOPNOTSUPP` for any other flag, and for `MSG_MORE` of a
    /// datagram.
    pub async fn send_with_flags_async(&self, data: &[u8], flags: i32) -> io::Result<usize> {
        let flags = self.sending_flags(flags)?;
        self.send_part(data, flags, self.begin_call(flags.dont_wait)).await
    }

    /// Sends all of `data`, within one timeout for the whole call. An empty `data` is
    /// sent too, once. Python's `sendall`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). It is then unknown how much was sent.
    pub fn sendall(&self, data: &[u8]) -> io::Result<()> {
        block_on(self.sendall_async(data))
    }

    /// Sends as [`sendall`](Self::sendall).
    ///
    /// # Errors
    ///
    /// As [`sendall`](Self::sendall).
    pub async fn sendall_async(&self, data: &[u8]) -> io::Result<()> {
        self.send_all(data, SendingFlags::default()).await
    }

    /// Sends as [`sendall`](Self::sendall), with the flags of
    /// [`send_with_flags_async`](Self::send_with_flags_async). Python's `sendall` with two
    /// arguments.
    ///
    /// # Errors
    ///
    /// As [`send_with_flags_async`](Self::send_with_flags_async). It is then unknown how much
    /// was sent.
    pub async fn sendall_with_flags_async(&self, data: &[u8], flags: i32) -> io::Result<()> {
        self.send_all(data, self.sending_flags(flags)?).await
    }

    async fn send_all(&self, data: &[u8], flags: SendingFlags) -> io::Result<()> {
        let call = self.begin_call(flags.dont_wait);
        let mut sent = self.send_part(data, flags, call).await?;
        while sent < data.len() {
            sent += self.send_part(&data[sent..], flags, call).await?;
        }
        Ok(())
    }

    /// Sends `data` as one datagram from the server's own socket to `address`, and
    /// returns the number of bytes, which is all of them. The datagram leaves from the
    /// address that this request was sent to. On a connection, `address` is ignored.
    /// Python's `sendto`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and:
    ///
    /// - `EMSGSIZE`: `data` is larger than a datagram can be. Nothing is sent.
    /// - `EDESTADDRREQ`: the client's Unix socket has no name.
    /// - `ENAMETOOLONG`: the name of the client's Unix socket is too long.
    /// - `ECONNREFUSED` or `ENOENT`: the client's Unix socket is gone.
    pub fn sendto(&self, data: &[u8], address: &Address) -> io::Result<usize> {
        block_on(self.sendto_async(data, address))
    }

    /// Sends as [`sendto`](Self::sendto).
    ///
    /// # Errors
    ///
    /// As [`sendto`](Self::sendto).
    pub async fn sendto_async(&self, data: &[u8], address: &Address) -> io::Result<usize> {
        self.send_datagram(data, SendingFlags::default(), address).await
    }

    /// Sends as [`sendto`](Self::sendto), with the flags of
    /// [`send_with_flags_async`](Self::send_with_flags_async). Python's `sendto` with three
    /// arguments.
    ///
    /// # Errors
    ///
    /// As [`sendto`](Self::sendto) and [`send_with_flags_async`](Self::send_with_flags_async).
    pub async fn sendto_with_flags_async(
        &self,
        data: &[u8],
        flags: i32,
        address: &Address,
    ) -> io::Result<usize> {
        self.send_datagram(data, self.sending_flags(flags)?, address).await
    }

    async fn send_datagram(
        &self,
        data: &[u8],
        flags: SendingFlags,
        address: &Address,
    ) -> io::Result<usize> {
        let call = self.begin_call(flags.dont_wait);
        if let Transport::Connection(_) | Transport::Closed(_) = &self.0.transport {
            return self.send_part(data, flags, call).await;
        }
        if *address == Address::Unix(UnixAddress::Unnamed) {
            return Err(Errno::DESTADDRREQ.into());
        }
        // A datagram is sent whole or not at all, and an empty one counts as a byte.
        let cost = data.len().max(1);
        if self.allowed_to_send(cost)? < cost {
            return Err(self.send_limit());
        }
        let kernel_address = address.to_kernel()?;
        let attempt = || match &self.0.transport {
            Transport::Datagram(datagram) => datagram.send_to(data, address, &kernel_address),
            Transport::Opened(opened) => opened.send_to(data, address),
            transport => transport.send(data, flags.to_kernel()),
        };
        let sent = self.transfer(call, attempt).await?;
        self.count_sent(cost);
        Ok(sent)
    }

    /// Sends a part of `data`.
    async fn send_part(
        &self,
        data: &[u8],
        flags: SendingFlags,
        call: CallWait,
    ) -> io::Result<usize> {
        let allowed = self.allowed_to_send(data.len())?;
        let attempt = || self.0.transport.send(&data[..allowed], flags.to_kernel());
        let count = self.transfer(call, attempt).await?;
        self.count_sent(count);
        Ok(count)
    }

    /// Returns the flags with these numbers. A datagram cannot wait for more data: all
    /// requests share its socket.
    fn sending_flags(&self, flags: i32) -> io::Result<SendingFlags> {
        let flags = SendingFlags::from_number(flags)?;
        if flags.more {
            self.0.transport.connection()?;
        }
        Ok(flags)
    }

    /// Returns the part of `wanted` bytes that may be sent. Fails if that is none.
    pub(super) fn allowed_to_send(&self, wanted: usize) -> io::Result<usize> {
        match self.0.traffic.sent.remaining(wanted) {
            0 if wanted > 0 => Err(self.send_limit()),
            allowed => Ok(allowed),
        }
    }

    fn send_limit(&self) -> io::Error {
        SendLimit { limit: self.0.traffic.sent.limit() }.into()
    }

    /// Counts bytes that were sent.
    pub(super) fn count_sent(&self, count: usize) {
        self.moved(count);
        self.0.traffic.sent.add(count);
    }
}
