use crate::Socket;
use crate::reader::DEFAULT_BUFFER_SIZE;
use std::io::{self, Write};

/// A file to write the reply to: Python's `self.wfile`.
///
/// It has a buffer of [`WBUFSIZE`](crate::StreamRequestHandler::WBUFSIZE)
/// bytes, by default none: each write is one
/// [`sendall`](Socket::sendall). What is in a buffer leaves when more comes than
/// it has room for, at [`flush`](Self::flush), and after `finish`.
///
/// [`write!`] makes a write of each of its parts; without a buffer, format
/// first.
#[derive(Debug)]
pub struct Writer<S = Socket> {
    socket: S,
    /// Sent, when it is, before anything else.
    buffer: Vec<u8>,
    /// How much the buffer may hold; 0 if there is none.
    size: usize,
}

impl<S: Write> Writer<S> {
    /// Python's `makefile("wb", size)`, below zero for the default size, or its
    /// `_SocketWriter` for a size of zero.
    pub(crate) fn new(socket: S, size: i32) -> Self {
        let size = usize::try_from(size).unwrap_or(DEFAULT_BUFFER_SIZE);
        Self { socket, buffer: Vec::new(), size }
    }

    /// Writes all of `data` and returns its length. Python's `write(bytes)`.
    ///
    /// Without a buffer an error leaves unknown how much was sent. With one,
    /// what was in it and was not sent stays there.
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

    /// Sends what is in the buffer. What an error kept from being sent stays
    /// there. Python's `flush()`.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            let sent = send(&mut self.socket, &self.buffer)?.min(self.buffer.len());
            self.buffer.drain(..sent);
        }
        Ok(())
    }

    /// What Python's `StreamRequestHandler.finish` does: it flushes and ignores
    /// an error, then closes the file, which flushes again if there is anything
    /// left, and that error counts.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.flush().or_else(|_| self.flush())
    }
}

/// One `send`, of at least one byte.
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

    /// Notes each call; takes at most `most` bytes in one, and fails in those
    /// that `fails` counts down to.
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
    fn a_buffer_is_sent_when_asked_and_only_once() {
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
    fn a_buffer_is_sent_when_more_comes_than_it_has_room_for() {
        let mut socket = Calls::default();
        let mut wfile = Writer::new(&mut socket, 4);
        wfile.write(b"ab").unwrap();
        wfile.write(b"cd").unwrap();
        assert!(wfile.socket.sent.is_empty());
        wfile.write(b"e").unwrap();
        assert_eq!(wfile.socket.sent, [b"abcd"]);
        // More than the buffer holds: at once, and the last part is kept.
        wfile.socket.most = Some(3);
        assert_eq!(wfile.write(b"fghijklm").unwrap(), 8);
        assert_eq!(wfile.socket.sent, [&b"abcd"[..], b"e", b"fgh", b"ijk"]);
        assert_eq!(wfile.buffer, b"lm");
    }

    #[test]
    fn sends_on_where_a_short_send_stopped() {
        let mut socket = Calls { most: Some(2), ..Calls::default() };
        let mut wfile = Writer::new(&mut socket, -1);
        wfile.write(b"abcde").unwrap();
        wfile.flush().unwrap();
        assert_eq!(socket.sent, [&b"ab"[..], b"cd", b"e"]);
    }

    #[test]
    fn closing_reports_the_second_error_only() {
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
    fn what_was_not_sent_stays_in_the_buffer() {
        let mut socket = Calls { fails: 1, ..Calls::default() };
        let mut wfile = Writer::new(&mut socket, 4);
        wfile.write(b"abc").unwrap();
        assert!(wfile.write(b"de").is_err());
        wfile.write(b"d").unwrap();
        wfile.close().unwrap();
        assert_eq!(socket.sent, [b"abcd"]);
    }

    #[test]
    fn a_socket_that_takes_nothing_is_an_error() {
        let mut socket = Calls { most: Some(0), ..Calls::default() };
        let mut wfile = Writer::new(&mut socket, -1);
        wfile.write(b"data").unwrap();
        assert_eq!(wfile.flush().unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
