//! A datagram as the standard input of a program, whose standard output is the answer.

use socketserver::{Address, Request};
use wasmtime_wasi::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, OutputStream, StreamError, StreamResult};

use super::{Shared, Unsent};
use crate::host::wasi::streams::permit;

/// The longest datagram over IPv4: 65,535 bytes without the headers of IP and UDP.
const MAX_INET: usize = 65_507;
/// The longest datagram over IPv6, whose header does not count.
const MAX_INET6: usize = 65_527;

/// A datagram, as all streams of one program share it.
pub(crate) struct Datagram {
    request: Request,
    client_address: Address,
    /// The bytes that one call may allocate.
    most: usize,
    /// The number of bytes that the program has read.
    read: usize,
    /// The bytes that the program has written.
    answer: Vec<u8>,
}

impl Datagram {
    pub(super) fn new(request: Request, client_address: Address, call_memory: usize) -> Self {
        Datagram { request, client_address, most: call_memory, read: 0, answer: Vec::new() }
    }

    fn take(&mut self, size: usize) -> StreamResult<Bytes> {
        let rest = self.request.data().get(self.read..).unwrap_or_default();
        if rest.is_empty() {
            return Err(StreamError::Closed);
        }
        let data = &rest[..rest.len().min(size).min(self.most)];
        self.read += data.len();
        Ok(Bytes::copy_from_slice(data))
    }

    fn add(&mut self, data: &[u8]) -> StreamResult<()> {
        let length = self.answer.len().saturating_add(data.len());
        let most = self.max_length();
        if length > most {
            let why = format!("it wrote more than {most} bytes, the longest datagram");
            return Err(StreamError::trap(&why));
        }
        self.answer.extend_from_slice(data);
        Ok(())
    }

    /// Returns the length of the longest answer. The kernel decides that of an answer to a Unix
    /// socket; here the memory of one call bounds it.
    fn max_length(&self) -> usize {
        match &self.client_address {
            Address::Inet6(address) if address.ip().to_ipv4_mapped().is_none() => MAX_INET6,
            Address::Inet(_) | Address::Inet6(_) => MAX_INET,
            Address::Unix(_) => self.most,
        }
    }
}

impl Shared<Datagram> {
    /// Sends the answer. A program that wrote nothing does not answer.
    pub(super) async fn finish(&self) -> Result<(), Unsent> {
        let (request, client_address, answer) = {
            let mut datagram = self.lock();
            let answer = std::mem::take(&mut datagram.answer);
            (datagram.request.clone(), datagram.client_address.clone(), answer)
        };
        if !answer.is_empty() {
            request.sendto_async(&answer, &client_address).await?;
        }
        Ok(())
    }
}

/// A standard input of a program.
pub(super) struct DatagramInput(pub Shared<Datagram>);

#[async_trait]
impl Pollable for DatagramInput {
    async fn ready(&mut self) {}
}

impl InputStream for DatagramInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.0.lock().take(size)
    }
}

/// A standard output of a program.
pub(super) struct DatagramOutput(pub Shared<Datagram>);

#[async_trait]
impl Pollable for DatagramOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for DatagramOutput {
    fn write(&mut self, data: Bytes) -> StreamResult<()> {
        self.0.lock().add(&data)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(permit(self.0.lock().most))
    }
}
