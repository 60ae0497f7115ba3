use crate::Socket;
use crate::reader::DEFAULT_BUFFER_SIZE;
use std::io::{self, Write};

/// A file to write the reply to. Python's `self.wfile`.
///
/// It has a buffer of [`WBUFSIZE`](crate::StreamRequestHandler::WBUFSIZE) bytes, by
/// default none: each write is one [`sendall`](Socket::sendall). A buffer is sent when a
/// write does not fit into it, by [`flush`](Self::flush), and after `finish`.
///
/// [`write!`] writes each of its parts separately. Without a buffer, call [`format!`]
/// first.
#[derive(Debug)]
pub struct Writer<S = Socket> {
    socket: S,
    /// Data that is sent before any later write.
    buffer: Vec<u8>,
    /// The capacity of the buffer, or 0 for no buffer.
    size: usize,
}

impl<S: Write> Writer<S> {
    /// Wraps a socket as Python's `makefile("wb", size)` does. A negative size is the
    /// default; with a size of zero it does the same as Python's `_SocketWriter`.
    pub(crate) fn new(socket: S, size: i32) -> Self {
        let size = usize::try_from(size).unwrap_or(DEFAULT_BUFFER_SIZE);
        Self { socket, buffer: Vec::new(), size }
    }

    /// Writes all of `data` and returns its length. Python's `write(bytes)`.
    ///
    /// # Errors
    ///
    /// Returns the error of the socket. Without a buffer the number of bytes sent is
    /// then unknown. With a buffer, data in it that was not sent stays there.
    pub fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.size == 0 {
            self.socket.write_all(data)?;
            return Ok(data.len());
        }
        let mut rest = data;
        if rest.len() > self.size - self.buffer.len() {
            self.flush()?;
            while rest.len() > self.size {
                rest = rest.get(send(&mut self.socket, rest)?..).unwrap_or_default();
            }
        }
        self.buffer.extend_from_slice(rest);
        Ok(data.len())
    }

    /// Sends the data in the buffer. Python's `flush()`.
    ///
    /// # Errors
    ///
    /// Returns the error of the socket. Data that was not sent stays in the buffer.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            let sent = send(&mut self.socket, &self.buffer)?.min(self.buffer.len());
            self.buffer.drain(..sent);
        }
        Ok(())
    }

    /// Flushes, and flushes again if that fails, as Python's
    /// `StreamRequestHandler.finish` does: it ignores the error of `flush()`, but not the
    /// error of `close()`, which flushes once more if data is left.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.flush().or_else(|_| self.flush())
    }
}

/// Calls `send` once. Sending no byte is an error.
fn send(socket: &mut impl Write, data: &[u8]) -> io::Result<usize> {
    match socket.write(data)? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

impl<S: Write> Write for Writer<S> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Self::write(self, data)
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        Self::write(self, data).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records each call. Accepts at most `most` bytes in a call, and fails in the first
    /// `fails` calls.
    #[derive(Default)]
    struct Calls {
        sent: Vec<Vec<u8>>,
        all: usize,
        most: Option<usize>,
        fails: usize,
    }

    impl Write for &mut Calls {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            if self.fails > 0 {
                self.fails -= 1;
                return Err(crate::Error::BrokenPipe.into());
            }
            let count = data.len().min(self.most.unwrap_or(usize::MAX));
            self.sent.push(data[..count].to_vec());
            Ok(count)
        }

        fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
            self.all += 1;
            self.sent.push(data.to_vec());
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn without_a_buffer_each_write_is_one_sendall() {
        let mut socket = Calls::default();
        let mut wfile = Writer::new(&mut socket, 0);
        assert_eq!(wfile.write(b"first").unwrap(), 5);
        assert_eq!(wfile.write(b"").unwrap(), 0);
        Write::write_all(&mut wfile, b"second").unwrap();
        wfile.close().unwrap();
        assert_eq!(socket.sent, [&b"first"[..], b"", b"second"]);
        assert_eq!(socket.all, 3);
    }

    #[test]
    fn a_buffer_is_sent_at_the_end() {
        let mut socket = Calls::default();
        let mut wfile = Writer::new(&mut socket, -1);
        assert_eq!(wfile.write(b"first\n").unwrap(), 6);
        assert_eq!(wfile.write(b"second\n").unwrap(), 7);
        assert!(wfile.socket.sent.is_empty());
        wfile.close().unwrap();
        assert_eq!(socket.sent, [b"first\nsecond\n"]);
    }

    #[test]
    fn flush_sends_the_buffer_once() {
        let mut socket = Calls::default();
        let mut wfile = Writer::new(&mut socket, 100);
        wfile.write(b"now").unwrap();
        wfile.flush().unwrap();
        wfile.flush().unwrap();
        assert_eq!(wfile.socket.sent, [b"now"]);
        wfile.close().unwrap();
        assert_eq!(socket.sent, [b"now"]);
    }

    #[test]
    fn a_buffer_is_sent_when_a_write_does_not_fit_into_it() {
        let mut socket = Calls::default();
        let mut wfile = Writer::new(&mut socket, 4);
        wfile.write(b"ab").unwrap();
        wfile.write(b"cd").unwrap();
        assert!(wfile.socket.sent.is_empty());
        wfile.write(b"e").unwrap();
        assert_eq!(wfile.socket.sent, [b"abcd"]);
        // More than the buffer can hold is sent at once, except the last part.
        wfile.socket.most = Some(3);
        assert_eq!(wfile.write(b"fghijklm").unwrap(), 8);
        assert_eq!(wfile.socket.sent, [&b"abcd"[..], b"e", b"fgh", b"ijk"]);
        assert_eq!(wfile.buffer, b"lm");
    }

    #[test]
    fn a_flush_continues_after_a_short_send() {
        let mut socket = Calls { most: Some(2), ..Calls::default() };
        let mut wfile = Writer::new(&mut socket, -1);
        wfile.write(b"abcde").unwrap();
        wfile.flush().unwrap();
        assert_eq!(socket.sent, [&b"ab"[..], b"cd", b"e"]);
    }

    #[test]
    fn close_reports_only_the_second_error() {
        let mut socket = Calls { fails: 1, ..Calls::default() };
        let mut wfile = Writer::new(&mut socket, -1);
        wfile.write(b"data").unwrap();
        wfile.close().unwrap();
        assert_eq!(socket.sent, [b"data"]);

        let mut socket = Calls { fails: 2, ..Calls::default() };
        let mut wfile = Writer::new(&mut socket, -1);
        wfile.write(b"data").unwrap();
        assert_eq!(wfile.close().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(socket.sent.is_empty());
    }

    #[test]
    fn data_that_was_not_sent_stays_in_the_buffer() {
        let mut socket = Calls { fails: 1, ..Calls::default() };
        let mut wfile = Writer::new(&mut socket, 4);
        wfile.write(b"abc").unwrap();
        assert!(wfile.write(b"de").is_err());
        wfile.write(b"d").unwrap();
        wfile.close().unwrap();
        assert_eq!(socket.sent, [b"abcd"]);
    }

    #[test]
    fn a_socket_that_accepts_no_byte_is_an_error() {
        let mut socket = Calls { most: Some(0), ..Calls::default() };
        let mut wfile = Writer::new(&mut socket, -1);
        wfile.write(b"data").unwrap();
        assert_eq!(wfile.flush().unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
