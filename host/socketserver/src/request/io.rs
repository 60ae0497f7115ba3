//! Receiving and sending.
//!
//! Each call is written once, as an async function. The function of the same name without
//! `_async` blocks.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Request;
use super::traffic::{ReceiveLimit, SendLimit};
use super::transport::{TransferError, Transport};
use super::wait::{block_on, wait_for};
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
        let connection = self.0.transport.connection()?;
        let deadline = self.0.deadlines.call_deadline();
        let allowed = self.allowed_to_receive(bufsize, deadline).await?;
        let mut data = Vec::with_capacity(allowed);
        if allowed > 0 {
            let count = self.transfer(deadline, || connection.recv(&mut data)).await?;
            self.moved(count);
            self.0.traffic.received.add(count);
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
        let deadline = self.0.deadlines.call_deadline();
        let allowed = self.allowed_to_receive(buffer.len(), deadline).await?;
        if allowed == 0 {
            return Ok(0);
        }
        let buffer = &mut buffer[..allowed];
        let count = self.transfer(deadline, || connection.recv_into(buffer)).await?;
        self.moved(count);
        self.0.traffic.received.add(count);
        Ok(count)
    }

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
        self.send_until(data, self.0.deadlines.call_deadline()).await
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
        let deadline = self.0.deadlines.call_deadline();
        let mut sent = self.send_until(data, deadline).await?;
        while sent < data.len() {
            sent += self.send_until(&data[sent..], deadline).await?;
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
        if let Transport::Connection(_) | Transport::Closed(_) = &self.0.transport {
            return self.send_async(data).await;
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
        let deadline = self.0.deadlines.call_deadline();
        let call = || match &self.0.transport {
            Transport::Datagram(datagram) => datagram.send_to(data, address, &kernel_address),
            Transport::Opened(opened) => opened.send_to(data, &kernel_address),
            transport => transport.send(data),
        };
        let sent = self.transfer(deadline, call).await?;
        self.moved(cost);
        self.0.traffic.sent.add(cost);
        Ok(sent)
    }

    async fn send_until(&self, data: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
        let allowed = self.allowed_to_send(data.len())?;
        let count = self.transfer(deadline, || self.0.transport.send(&data[..allowed])).await?;
        self.moved(count);
        self.0.traffic.sent.add(count);
        Ok(count)
    }

    /// Returns the part of `wanted` bytes that may be received; 0 if the stream ends
    /// here. Fails if the client has sent more than the request may receive.
    async fn allowed_to_receive(
        &self,
        wanted: usize,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let allowed = self.0.traffic.received.remaining(wanted);
        if allowed > 0 || wanted == 0 {
            return Ok(allowed);
        }
        let connection = self.0.transport.connection()?;
        if self.transfer(deadline, || connection.has_data()).await? {
            self.moved(1);
            return Err(ReceiveLimit { limit: self.0.traffic.received.limit() }.into());
        }
        Ok(0)
    }

    /// Returns the part of `wanted` bytes that may be sent. Fails if that is none.
    fn allowed_to_send(&self, wanted: usize) -> io::Result<usize> {
        match self.0.traffic.sent.remaining(wanted) {
            0 if wanted > 0 => Err(self.send_limit()),
            allowed => Ok(allowed),
        }
    }

    fn send_limit(&self) -> io::Error {
        SendLimit { limit: self.0.traffic.sent.limit() }.into()
    }

    /// Starts the idle time again if bytes have moved.
    fn moved(&self, count: usize) {
        if count > 0 {
            self.0.deadlines.reset_idle_time();
        }
    }

    /// Calls the transport until it moves bytes or fails, and waits in between. This is the
    /// only wait of a call.
    pub(super) async fn transfer<T>(
        &self,
        call_deadline: Option<Instant>,
        mut call: impl FnMut() -> Result<T, TransferError>,
    ) -> io::Result<T> {
        self.check_open()?;
        self.0.deadlines.check_wall_time()?;
        let mut attempt = 0;
        loop {
            let interest = match call() {
                Ok(value) => return Ok(value),
                Err(TransferError::Failed(error)) => return Err(error),
                Err(TransferError::WouldBlock(interest)) => interest,
            };
            if self.gettimeout() == Some(Duration::ZERO) {
                return Err(Errno::AGAIN.into());
            }
            let wait = self.0.deadlines.begin_wait(call_deadline);
            let socket = self.0.transport.socket();
            let polled = wait_for(socket.as_fd(), interest, attempt, wait.deadline).await?;
            self.0.deadlines.end_wait(&wait, polled)?;
            attempt = attempt.saturating_add(1);
        }
    }
}

impl Read for &Request {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_into(buffer)
    }
}

impl Write for &Request {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Request {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_into(buffer)
    }
}

impl Write for Request {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
