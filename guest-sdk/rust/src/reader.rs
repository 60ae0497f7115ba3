use crate::Socket;
use std::io::{self, BufRead, BufReader, Cursor, Read};

/// Python's `io.DEFAULT_BUFFER_SIZE`, in bytes.
pub(crate) const DEFAULT_BUFFER_SIZE: usize = 8192;

/// The limit of one `recv` on an unbuffered file, in bytes.
const MAX_RECV: usize = 65536;

/// A file to read the request from. Python's `self.rfile`.
///
/// In a stream handler it reads the connection, with a buffer of
/// [`RBUFSIZE`](crate::StreamRequestHandler::RBUFSIZE) bytes; `cx.connection.recv` does
/// not return data that is in the buffer. In a datagram handler it reads the datagram,
/// and no method fails.
///
/// The methods with Python's names return the data. `Reader` also implements [`Read`]
/// and [`BufRead`].
///
/// As in Python, the client decides how long a line or a request is. It is kept in the
/// handler's memory, and the memory limit ends the request.
/// [`readline_limited`](Self::readline_limited) and
/// [`read_at_most`](Self::read_at_most) have a limit of their own. They allocate memory
/// for the data received, not for the limit, so the limit may come from the client.
///
/// After a timeout of the connection every later read of the connection fails with
/// `cannot read from timed out object`, as in Python, because data may have been lost.
#[derive(Debug)]
pub struct Reader<B = BufReader<SocketIo>> {
    file: B,
    buffered: bool,
}

/// The layer between a [`Reader`] and its connection. Python's `socket.SocketIO`.
#[derive(Debug)]
pub struct SocketIo<S = Socket> {
    socket: S,
    timed_out: bool,
}

impl<S: Read> Reader<BufReader<SocketIo<S>>> {
    /// Wraps a socket as Python's `makefile("rb", size)` does. A negative size is the
    /// default.
    pub(crate) fn new(socket: S, size: i32) -> Self {
        let size = usize::try_from(size).unwrap_or(DEFAULT_BUFFER_SIZE);
        // A buffer of one byte reads nothing ahead.
        let file = BufReader::with_capacity(size.max(1), SocketIo { socket, timed_out: false });
        Self { file, buffered: size > 0 }
    }
}

impl Reader<Cursor<Vec<u8>>> {
    /// Wraps a datagram as Python's `BytesIO(packet)` does.
    pub(crate) fn from_packet(packet: Vec<u8>) -> Self {
        Self { file: Cursor::new(packet), buffered: true }
    }
}

impl<B: BufRead> Reader<B> {
    /// Reads a line, including the `\n` that ends it; no other byte ends a line. The
    /// last line may lack the `\n`. At the end of the file the result is empty.
    /// Python's `readline()`.
    ///
    /// # Errors
    ///
    /// Returns the error of the connection. Data that was read before it is lost.
    pub fn readline(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.file.read_until(b'\n', &mut line)?;
        Ok(line)
    }

    /// Reads a line, but at most `limit` bytes of it. The next call reads the rest.
    /// Python's `readline(limit)`.
    ///
    /// # Errors
    ///
    /// Returns the error of the connection. Data that was read before it is lost.
    pub fn readline_limited(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        Read::take(&mut self.file, limit as u64).read_until(b'\n', &mut line)?;
        Ok(line)
    }

    /// Reads until the other end has finished sending. Python's `read()`.
    ///
    /// # Errors
    ///
    /// Returns the error of the connection. Data that was read before it is lost.
    pub fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        self.file.read_to_end(&mut data)?;
        Ok(data)
    }

    /// Reads `size` bytes, or fewer if the other end finishes sending before. Python's
    /// `read(size)`.
    ///
    /// As in Python, an unbuffered file returns the result of one `recv`, which may be
    /// shorter, and is at most 64 KiB.
    ///
    /// # Errors
    ///
    /// Returns the error of the connection. Data that was read before it is lost.
    pub fn read_at_most(&mut self, size: usize) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        if self.buffered {
            // Grows with the data received: `size` may come from the client.
            Read::take(&mut self.file, size as u64).read_to_end(&mut data)?;
        } else {
            data.resize(size.min(MAX_RECV), 0);
            let count = self.file.read(&mut data)?;
            data.truncate(count);
        }
        Ok(data)
    }
}

impl<S: Read> Read for SocketIo<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.timed_out {
            return Err(io::Error::other("cannot read from timed out object"));
        }
        let result = self.socket.read(buffer);
        self.timed_out =
            result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
        result
    }
}

impl<B: Read> Read for Reader<B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl<B: BufRead> BufRead for Reader<B> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.file.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.file.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Returns one part per call, or as much of it as fits, and counts calls and bytes.
    struct Parts {
        left: VecDeque<io::Result<&'static [u8]>>,
        taken: usize,
        calls: usize,
    }

    impl Read for &mut Parts {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.calls += 1;
            let Some(part) = self.left.pop_front() else { return Ok(0) };
            let part = part?;
            let count = part.len().min(buffer.len());
            buffer[..count].copy_from_slice(&part[..count]);
            if count < part.len() {
                self.left.push_front(Ok(&part[count..]));
            }
            self.taken += count;
            Ok(count)
        }
    }

    fn parts(parts: impl IntoIterator<Item = &'static [u8]>) -> Parts {
        Parts { left: parts.into_iter().map(Ok).collect(), taken: 0, calls: 0 }
    }

    #[test]
    fn a_line_ends_at_a_line_feed_and_at_nothing_else() {
        for size in [-1, 0, 1, 2, 100] {
            let mut socket = parts([&b"a\rb\x0bc\0d\r"[..], b"\nsec", b"ond\n\n", b"partial"]);
            let mut rfile = Reader::new(&mut socket, size);
            assert_eq!(rfile.readline().unwrap(), b"a\rb\x0bc\0d\r\n");
            assert_eq!(rfile.readline().unwrap(), b"second\n");
            assert_eq!(rfile.readline().unwrap(), b"\n");
            assert_eq!(rfile.readline().unwrap(), b"partial");
            assert_eq!(rfile.readline().unwrap(), b"");
            assert_eq!(rfile.readline().unwrap(), b"");
        }
    }

    #[test]
    fn the_rest_of_a_long_line_stays_for_the_next_call() {
        for size in [-1, 0, 3] {
            let mut socket = parts([&b"long line\nnext\n"[..]]);
            let mut rfile = Reader::new(&mut socket, size);
            assert_eq!(rfile.readline_limited(0).unwrap(), b"");
            assert_eq!(rfile.readline_limited(4).unwrap(), b"long");
            assert_eq!(rfile.readline_limited(100).unwrap(), b" line\n");
            assert_eq!(rfile.readline_limited(5).unwrap(), b"next\n");
            assert_eq!(rfile.readline_limited(5).unwrap(), b"");
        }
    }

    #[test]
    fn an_unbuffered_file_reads_nothing_ahead() {
        let mut socket = parts([&b"line\nrest"[..]]);
        Reader::new(&mut socket, 0).readline().unwrap();
        assert_eq!(socket.taken, 5);
        Reader::new(&mut socket, 0).readline_limited(2).unwrap();
        assert_eq!(socket.taken, 7);
    }

    #[test]
    fn a_buffered_file_reads_ahead_up_to_the_size_of_its_buffer() {
        for (size, taken) in [(-1, 20), (1, 5), (4, 8), (8192, 20)] {
            let mut socket = parts([&b"line\nand what follows"[..20]]);
            Reader::new(&mut socket, size).readline().unwrap();
            assert_eq!(socket.taken, taken, "buffer of {size}");
        }
    }

    #[test]
    fn a_buffered_read_waits_for_all_bytes_requested() {
        let mut socket = parts([&b"one"[..], b"two", b"three"]);
        let mut rfile = Reader::new(&mut socket, -1);
        assert_eq!(rfile.read_at_most(5).unwrap(), b"onetw");
        assert_eq!(rfile.read_at_most(0).unwrap(), b"");
        assert_eq!(rfile.read_at_most(usize::MAX).unwrap(), b"othree");
        assert_eq!(rfile.read_at_most(5).unwrap(), b"");
    }

    #[test]
    fn an_unbuffered_read_is_one_recv() {
        let mut socket = parts([&b"one"[..], b"two"]);
        let mut rfile = Reader::new(&mut socket, 0);
        assert_eq!(rfile.read_at_most(usize::MAX).unwrap(), b"one");
        assert_eq!(rfile.read_at_most(2).unwrap(), b"tw");
        assert_eq!(rfile.read_at_most(2).unwrap(), b"o");
        assert_eq!(rfile.read_at_most(2).unwrap(), b"");
        assert_eq!(socket.calls, 4);
    }

    #[test]
    fn read_all_reads_to_the_end() {
        for size in [-1, 0, 2] {
            let mut socket = parts([&b"line\none"[..], b"two"]);
            let mut rfile = Reader::new(&mut socket, size);
            rfile.readline().unwrap();
            assert_eq!(rfile.read_all().unwrap(), b"onetwo");
            assert_eq!(rfile.read_all().unwrap(), b"");
        }
    }

    #[test]
    fn a_reader_implements_the_traits_of_std() {
        let mut socket = parts([&b"one\ntwo\nthree"[..]]);
        let mut rfile = Reader::new(&mut socket, -1);
        let mut start = [0; 2];
        rfile.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"on");
        let lines: Vec<_> = rfile.lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["e", "two", "three"]);
    }

    #[test]
    fn after_a_timeout_only_the_buffer_is_read() {
        for size in [-1, 0] {
            let mut socket = parts([&b"one\ntwo\n"[..]]);
            socket.left.push_back(Err(crate::Error::TimedOut.into()));
            socket.left.push_back(Ok(b"late\n"));
            let mut rfile = Reader::new(&mut socket, size);
            assert_eq!(rfile.readline().unwrap(), b"one\n");
            assert_eq!(rfile.read_at_most(4).unwrap(), b"two\n");
            let error = rfile.readline().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            for _ in 0..2 {
                let error = rfile.readline().unwrap_err();
                assert_eq!(error.to_string(), "cannot read from timed out object");
            }
            assert!(rfile.read_all().is_err());
            assert!(rfile.read_at_most(1).is_err());
        }
    }

    #[test]
    fn a_read_after_another_error_works() {
        let mut socket = parts([]);
        socket.left.push_back(Err(crate::Error::WouldBlock.into()));
        socket.left.push_back(Ok(b"late\n"));
        let mut rfile = Reader::new(&mut socket, -1);
        assert_eq!(rfile.readline().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(rfile.readline().unwrap(), b"late\n");
    }

    #[test]
    fn a_datagram_is_read_as_a_file() {
        let mut rfile = Reader::from_packet(b"first\nrest of it".to_vec());
        assert_eq!(rfile.readline().unwrap(), b"first\n");
        assert_eq!(rfile.read_at_most(5).unwrap(), b"rest ");
        assert_eq!(rfile.read_all().unwrap(), b"of it");
        assert_eq!(rfile.readline().unwrap(), b"");
    }
}
