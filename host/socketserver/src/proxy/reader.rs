//! A header that comes in parts. No byte after the header is taken from the socket.

use std::io;
use std::net::SocketAddr;

use super::header::{MAX_V2, Parsed, Wrong, parse};
use crate::access::Refusal;
use crate::request::Request;

/// The parts of a header that have come.
#[derive(Debug, Default)]
pub(crate) struct HeaderReader {
    bytes: Vec<u8>,
}

/// The result of an attempt to read a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The header is whole. It names this client, or none.
    Whole(Option<SocketAddr>),
    /// More bytes must come first.
    Waits,
    /// The connection has no header.
    Refused(Refusal),
}

impl HeaderReader {
    /// Reads what is there of the header, without waiting.
    pub(crate) fn advance(&mut self, request: &Request) -> Step {
        // Each round takes at least a byte, of at most as many.
        for _ in 0..=MAX_V2 {
            let more = match parse(&self.bytes) {
                Ok(Parsed::Whole(client)) => return Step::Whole(client),
                Ok(Parsed::Partial(more)) => self.read(request, more),
                Ok(Parsed::Line(most)) => self.read_line(request, most),
                Err(Wrong::Missing) => return Step::Refused(Refusal::ProxyMissing),
                Err(Wrong::Malformed) => return Step::Refused(Refusal::ProxyMalformed),
            };
            match more {
                Ok(0) => return Step::Refused(Refusal::ProxyMissing),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Waits,
                Err(_) => return Step::Refused(Refusal::ProxyMissing),
            }
        }
        Step::Refused(Refusal::ProxyMalformed)
    }

    /// Reads at most `most` bytes. Returns their number; 0 at the end of the stream.
    fn read(&mut self, request: &Request, most: usize) -> io::Result<usize> {
        let part = request.receive_header(most, false)?;
        self.bytes.extend(&part);
        Ok(part.len())
    }

    /// Reads to the end of the line, or at most `most` bytes.
    fn read_line(&mut self, request: &Request, most: usize) -> io::Result<usize> {
        let part = request.receive_header(most, true)?;
        let end = part.iter().position(|byte| *byte == b'\n').map_or(part.len(), |end| end + 1);
        self.read(request, end)
    }
}
