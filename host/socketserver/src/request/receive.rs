//! Receiving.
//!
//! Each call is written once, as an async function. The function of the same name without
//! `_async` blocks.

use std::io;

use rustix::io::Errno;

use super::Request;
use super::flags::ReceiveFlags;
use super::io::CallWait;
use super::opened::Opened;
use super::traffic::ReceiveLimit;
use super::transport::{TransferError, Transport};
use super::wait::block_on;
use crate::address::{Address, UnixAddress};

impl Request {
    /// Receives at most `bufsize` bytes: waits for the first byte, then returns the
    /// bytes that are there. Returns nothing at the end of the stream, and at once if
    /// `bufsize` is 0. Allocates `bufsize` bytes. Python's `recv`.
    ///
    /// # Errors
    ///
    /// - The timeout ran out ([`io::ErrorKind::TimedOut`], or
    ///   [`io::ErrorKind::WouldBlock`] if the timeout is zero).
    /// - The idle timeout ([`IdleTimeout`](crate::IdleTimeout)) or the wall time
    ///   ([`WallTimeout`](crate::WallTimeout)) of the request is over.
    /// - The client sent more than the request may receive ([`ReceiveLimit`]).
    /// - The handler closed the request (`EBADF`), or it is a datagram (`EOPNOTSUPP`).
    /// - `recv(2)` failed.
    pub fn recv(&self, bufsize: usize) -> io::Result<Vec<u8>> {
        block_on(self.recv_async(bufsize))
    }

    /// Receives as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_async(&self, bufsize: usize) -> io::Result<Vec<u8>> {
        self.receive(bufsize, ReceiveFlags::default()).await
    }

    /// Receives as [`recv`](Self::recv), with flags by the numbers of Linux. Python's `recv`
    /// with two arguments.
    ///
    /// - `MSG_PEEK`: the data stays in the socket, and the next call returns it again.
    /// - `MSG_DONTWAIT`: the call does not wait, as with a timeout of zero. As in CPython it has
    ///   no effect if there is a timeout.
    /// - `MSG_WAITALL`: the call waits for `bufsize` bytes or the end of the stream. As in
    ///   CPython it does not if there is a timeout; nor does it with `MSG_PEEK`.
    /// - `MSG_NOSIGNAL`: no effect.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and `EOPNOTSUPP` for any other flag.
    pub fn recv_with_flags(&self, bufsize: usize, flags: i32) -> io::Result<Vec<u8>> {
        block_on(self.recv_with_flags_async(bufsize, flags))
    }

    /// Receives as [`recv_with_flags`](Self::recv_with_flags).
    ///
    /// # Errors
    ///
    /// As [`recv_with_flags`](Self::recv_with_flags).
    pub async fn recv_with_flags_async(&self, bufsize: usize, flags: i32) -> io::Result<Vec<u8>> {
        self.receive(bufsize, ReceiveFlags::from_number(flags)?).await
    }

    /// Receives as [`recv_with_flags`](Self::recv_with_flags), and returns the address of the
    /// sender too. As on Linux a connection has none, except a Unix socket with a name.
    /// Python's `recvfrom`.
    ///
    /// # Errors
    ///
    /// As [`recv_with_flags`](Self::recv_with_flags).
    pub fn recvfrom(&self, bufsize: usize, flags: i32) -> io::Result<(Vec<u8>, Option<Address>)> {
        block_on(self.recvfrom_async(bufsize, flags))
    }

    /// Receives as [`recvfrom`](Self::recvfrom).
    ///
    /// # Errors
    ///
    /// As [`recvfrom`](Self::recvfrom).
    pub async fn recvfrom_async(
        &self,
        bufsize: usize,
        flags: i32,
    ) -> io::Result<(Vec<u8>, Option<Address>)> {
        if let Transport::Opened(opened) = &self.0.transport
            && !opened.is_stream()
        {
            return self.receive_datagram(opened, bufsize, ReceiveFlags::from_number(flags)?).await;
        }
        let data = self.recv_with_flags_async(bufsize, flags).await?;
        let sender = if data.is_empty() { None } else { self.getpeername().ok() };
        let sender = sender.filter(
            |address| matches!(address, Address::Unix(name) if *name != UnixAddress::Unnamed),
        );
        Ok((data, sender))
    }

    /// Receives a datagram on a socket that the handler opened, and its sender.
    async fn receive_datagram(
        &self,
        opened: &Opened,
        bufsize: usize,
        flags: ReceiveFlags,
    ) -> io::Result<(Vec<u8>, Option<Address>)> {
        let call = self.begin_call(flags.dont_wait);
        let allowed = self.allowed_to_receive(bufsize, call).await?;
        // A request that waits has no buffer.
        let attempt = || {
            let mut data = Vec::with_capacity(allowed);
            let sender = opened.connection.receive_from(&mut data, flags.peek)?;
            Ok((data, sender))
        };
        let (data, sender) = self.transfer(call, attempt).await?;
        if !flags.peek {
            self.count_received(data.len());
        }
        Ok((data, Address::from_kernel(&sender).ok()))
    }

    async fn receive(&self, bufsize: usize, flags: ReceiveFlags) -> io::Result<Vec<u8>> {
        let connection = self.0.transport.connection()?;
        let call = self.begin_call(flags.dont_wait);
        let allowed = self.allowed_to_receive(bufsize, call).await?;
        if allowed == 0 {
            return Ok(Vec::new());
        }
        // A request that waits for its first byte has no buffer.
        let attempt = || {
            let mut data = Vec::with_capacity(allowed);
            let count = connection.recv(&mut data, flags.peek)?;
            Ok((data, count))
        };
        let (mut data, mut count) = self.transfer(call, attempt).await?;
        if flags.peek {
            return Ok(data);
        }
        self.count_received(count);
        let waits_for_all = flags.wait_all && call.may_wait && call.deadline.is_none();
        while waits_for_all && count > 0 && data.len() < allowed {
            match self.transfer(call, || connection.recv(&mut data, false)).await {
                Ok(more) => count = more,
                // As the kernel does, return the data now and the error next time.
                Err(error) if error.raw_os_error().is_some() => {
                    connection.defer_error(&error);
                    break;
                }
                Err(limit) => return Err(limit),
            }
            self.count_received(count);
        }
        Ok(data)
    }

    /// Receives into `buffer` and returns the number of bytes; 0 at the end of the
    /// stream. Otherwise as [`recv`](Self::recv). Python's `recv_into`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_into(&self, buffer: &mut [u8]) -> io::Result<usize> {
        block_on(self.recv_into_async(buffer))
    }

    /// Receives as [`recv_into`](Self::recv_into).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_into_async(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let connection = self.0.transport.connection()?;
        let call = self.begin_call(false);
        let allowed = self.allowed_to_receive(buffer.len(), call).await?;
        if allowed == 0 {
            return Ok(0);
        }
        let buffer = &mut buffer[..allowed];
        let count = self.transfer(call, || connection.recv_into(buffer)).await?;
        self.count_received(count);
        Ok(count)
    }

    /// Receives at most `most` bytes, or looks at them, without waiting. They are not a part of
    /// the request: they count for no limit.
    pub(crate) fn receive_header(&self, most: usize, peek: bool) -> io::Result<Vec<u8>> {
        let mut data = Vec::with_capacity(most);
        match self.0.transport.connection()?.recv_from_socket(&mut data, peek) {
            Ok(_) => Ok(data),
            Err(TransferError::WouldBlock(_)) => Err(Errno::AGAIN.into()),
            Err(TransferError::Failed(error)) => Err(error),
        }
    }

    /// Returns the part of `wanted` bytes that may be received; 0 if the stream ends
    /// here. Fails if the client has sent more than the request may receive.
    async fn allowed_to_receive(&self, wanted: usize, call: CallWait) -> io::Result<usize> {
        let allowed = self.0.traffic.received.remaining(wanted);
        if allowed > 0 || wanted == 0 {
            return Ok(allowed);
        }
        let connection = self.0.transport.connection()?;
        if self.transfer(call, || connection.has_data()).await? {
            self.moved(1);
            return Err(ReceiveLimit { limit: self.0.traffic.received.limit() }.into());
        }
        Ok(0)
    }

    /// Counts bytes that were received.
    fn count_received(&self, count: usize) {
        self.moved(count);
        self.0.traffic.received.add(count);
    }
}
