//! Python's `makefile`.

use super::handle::Socket;
use crate::{Error, Reader, Writer};
use std::io::{self, BufRead, Read, Write};

/// A file on a socket: the result of [`Socket::makefile`]. Python's `io.BufferedReader`,
/// `io.BufferedWriter` or `io.BufferedRWPair`, or without a buffer `SocketIO`.
///
/// The methods with Python's names return the data. The traits of [`std::io`] work too.
/// Reading from a file that was made for writing is an error of kind
/// [`Unsupported`](io::ErrorKind::Unsupported), and so is writing to one that was made for
/// reading.
#[derive(Debug)]
pub struct SocketFile {
    reader: Option<Reader>,
    writer: Option<Writer>,
}

impl Socket {
    /// Returns a file that reads from the socket, writes to it, or both. Python's
    /// `makefile(mode, buffering)`.
    ///
    /// `mode` consists of `r`, `w` and `b`, as in Python; without `w` the file is for
    /// reading. The data is bytes with or without `b`. `buffering` is the size of the
    /// buffer in bytes: `None` stands for 8192, and 0 for no buffer.
    ///
    /// Dropping the file does not send what is in its buffer: call
    /// [`flush`](SocketFile::flush).
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidArgument`] for any other mode.
    pub fn makefile(&self, mode: &str, buffering: Option<usize>) -> Result<SocketFile, Error> {
        SocketFile::new(self, mode, buffering)
    }
}

impl SocketFile {
    fn new(socket: &Socket, mode: &str, buffering: Option<usize>) -> Result<Self, Error> {
        if !mode.bytes().all(|letter| b"rwb".contains(&letter)) {
            return Err(Error::InvalidArgument);
        }
        let size = buffering.map_or(-1, |size| i32::try_from(size).unwrap_or(i32::MAX));
        let writes = mode.contains('w');
        let reads = mode.contains('r') || !writes;
        Ok(Self {
            reader: reads.then(|| Reader::new(socket.clone(), size)),
            writer: writes.then(|| Writer::new(socket.clone(), size)),
        })
    }

    /// Returns true if the file was made for reading. Python's `readable()`.
    pub fn readable(&self) -> bool {
        self.reader.is_some()
    }

    /// Returns true if the file was made for writing. Python's `writable()`.
    pub fn writable(&self) -> bool {
        self.writer.is_some()
    }

    /// Reads a line, as [`Reader::readline`]. Python's `readline()`.
    ///
    /// # Errors
    ///
    /// Returns the error of the socket.
    pub fn readline(&mut self) -> io::Result<Vec<u8>> {
        self.reader()?.readline()
    }

    /// Reads the lines that are left. Python's `readlines()`.
    ///
    /// # Errors
    ///
    /// Returns the error of the socket. Lines that were read before it are lost.
    pub fn readlines(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        loop {
            let line = self.reader()?.readline()?;
            if line.is_empty() {
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    /// Reads until the other end has finished sending, as [`Reader::read_all`]. Python's
    /// `read()`.
    ///
    /// # Errors
    ///
    /// Returns the error of the socket.
    pub fn read_all(&mut self) -> io::Result<Vec<u8>> {
        self.reader()?.read_all()
    }

    /// Reads `size` bytes, or fewer at the end, as [`Reader::read_at_most`]. Python's
    /// `read(size)`.
    ///
    /// # Errors
    ///
    /// Returns the error of the socket.
    pub fn read_at_most(&mut self, size: usize) -> io::Result<Vec<u8>> {
        self.reader()?.read_at_most(size)
    }

    /// Writes all of `data` and returns its length, as [`Writer::write`]. Python's
    /// `write(bytes)`.
    ///
    /// # Errors
    ///
    /// Returns the error of the socket.
    pub fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.writer()?.write(data)
    }

    /// Sends what is in the buffer, if there is one. Python's `flush()`.
    ///
    /// # Errors
    ///
    /// Returns the error of the socket.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Writer::flush)
    }

    fn reader(&mut self) -> io::Result<&mut Reader> {
        self.reader.as_mut().ok_or_else(|| unsupported("not readable"))
    }

    fn writer(&mut self) -> io::Result<&mut Writer> {
        self.writer.as_mut().ok_or_else(|| unsupported("not writable"))
    }
}

/// Returns Python's `io.UnsupportedOperation`.
fn unsupported(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, text)
}

impl Read for SocketFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader()?.read(buffer)
    }
}

impl BufRead for SocketFile {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(reader) = &mut self.reader {
            reader.consume(amount);
        }
    }
}

impl Write for SocketFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Self::write(self, data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self)
    }
}
