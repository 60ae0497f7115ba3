//! One session of TLS: records on the side of the socket, plain bytes on the other side.
//!
//! No call waits. A record that the kernel has not taken stays in the session, as data does in
//! the buffer of a socket: at most one part of [`MAX_PART`] bytes.

use std::io::{self, BufRead, ErrorKind, Read, Write};

use rustix::io::Errno;
use rustls::ServerConnection;

use super::TlsServer;

/// The most bytes that the session takes at once.
const MAX_PART: usize = 64 << 10;

/// The most reads from the socket in one call. A record of 16 KiB takes five.
///
/// A client may send records that have no plain bytes, or one byte at a time, as fast as the
/// session reads them. The limits of the request are looked at between calls, so that such a
/// client keeps no thread beyond them.
const MAX_READS: usize = 32;

/// The event that a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The socket has data.
    Data,
    /// The socket takes data.
    Room,
    /// The socket has data, or takes data.
    Either,
}

/// An error of a call that may be repeated.
pub(crate) enum Stopped {
    /// The call can be repeated after this event.
    Waits(Awaited),
    /// The call failed.
    Failed(io::Error),
}

type Result<T> = std::result::Result<T, Stopped>;

/// A session of TLS with a client.
#[derive(Debug)]
pub(crate) struct Session {
    connection: ServerConnection,
    /// The end of the client's records, if a call has met it.
    end: Option<End>,
    /// Set after a record that is wrong. No more are read.
    is_broken: bool,
    closed: bool,
}

/// The end of the client's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client has said that it sends no more.
    CloseNotify,
    /// The connection has ended without that.
    Truncated,
}

impl Session {
    pub(crate) fn new(server: &TlsServer) -> io::Result<Self> {
        let connection = ServerConnection::new(server.config()).map_err(io::Error::other)?;
        Ok(Session { connection, end: None, is_broken: false, closed: false })
    }

    /// Goes on with the handshake. Returns when it is done.
    pub(crate) fn handshake(&mut self, mut socket: impl Read + Write) -> Result<()> {
        for reads in 0.. {
            self.flush(&mut socket)?;
            if !self.connection.is_handshaking() {
                break;
            }
            if reads == MAX_READS {
                return Err(Stopped::Waits(Awaited::Data));
            }
            self.read_records(&mut socket)?;
            if self.end.is_some() {
                let error = io::Error::new(ErrorKind::UnexpectedEof, "the connection has ended");
                return Err(Stopped::Failed(error));
            }
        }
        Ok(())
    }

    /// Returns the plain bytes that are there: nothing at the end.
    pub(crate) fn fill(&mut self, mut socket: impl Read + Write) -> Result<&[u8]> {
        // What the client waits for before it sends more must not stay here.
        let blocked = match self.flush(&mut socket) {
            Err(Stopped::Waits(_)) => true,
            Err(_) | Ok(()) => false,
        };
        for reads in 0.. {
            match self.connection.reader().fill_buf().map(<[u8]>::len) {
                Ok(0) => {
                    self.end.get_or_insert(End::CloseNotify);
                    return Ok(&[]);
                }
                Ok(_) => break,
                Err(_) if self.is_broken => {
                    return Err(Stopped::Failed(Errno::CONNABORTED.into()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if reads == MAX_READS {
                        return Err(Stopped::Waits(Awaited::Data));
                    }
                }
                Err(_) => {
                    self.end = Some(End::Truncated);
                    return Ok(&[]);
                }
            }
            match self.read_records(&mut socket) {
                Err(Stopped::Waits(_)) if blocked => {
                    return Err(Stopped::Waits(Awaited::Either));
                }
                // What came before the wrong record is right.
                Err(Stopped::Failed(_)) if self.is_broken => {}
                read => read?,
            }
        }
        self.connection.reader().into_first_chunk().map_err(Stopped::Failed)
    }

    /// Forgets plain bytes, which [`fill`](Self::fill) has returned.
    pub(crate) fn consume(&mut self, count: usize) {
        self.connection.reader().consume(count);
    }

    /// Takes a part of `data`, when the kernel has taken all that came before.
    pub(crate) fn send(&mut self, mut socket: impl Read + Write, data: &[u8]) -> Result<usize> {
        if self.closed {
            return Err(Stopped::Failed(Errno::PIPE.into()));
        }
        self.flush(&mut socket)?;
        let part = &data[..data.len().min(MAX_PART)];
        let taken = self.connection.writer().write(part).map_err(Stopped::Failed)?;
        match self.flush(&mut socket) {
            Ok(()) | Err(Stopped::Waits(_)) => Ok(taken),
            Err(error) => Err(error),
        }
    }

    /// Says that no more will be sent. [`flush`](Self::flush) sends it.
    pub(crate) fn close(&mut self) {
        if !self.closed {
            self.closed = true;
            self.connection.send_close_notify();
        }
    }

    /// Gives the kernel what the session has for it.
    pub(crate) fn flush(&mut self, mut socket: impl Read + Write) -> Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut socket) {
                Ok(_) => {}
                Err(error) => return Err(stopped(error, Awaited::Room)),
            }
        }
        Ok(())
    }

    /// Returns true if the kernel has not taken all of it.
    pub(crate) fn has_unsent(&self) -> bool {
        self.connection.wants_write()
    }

    /// Returns true after [`close`](Self::close).
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns true if the handshake was done.
    pub(crate) fn is_established(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// Returns what knows the facts of the handshake, if that was done.
    pub(crate) fn established(&self) -> Option<&ServerConnection> {
        self.is_established().then_some(&self.connection)
    }

    /// Returns the end of the client's records, if a call has met it.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    fn read_records(&mut self, mut socket: impl Read + Write) -> Result<()> {
        match self.connection.read_tls(&mut socket) {
            Ok(0) if self.connection.is_handshaking() => {
                self.end = Some(End::Truncated);
                return Ok(());
            }
            Ok(_) => {}
            Err(error) => return Err(stopped(error, Awaited::Data)),
        }
        let Err(error) = self.connection.process_new_packets() else { return Ok(()) };
        self.is_broken = true;
        // The client learns the reason, if there is room for it.
        let _ = self.flush(&mut socket);
        Err(Stopped::Failed(io::Error::new(ErrorKind::ConnectionAborted, error)))
    }
}

fn stopped(error: io::Error, awaited: Awaited) -> Stopped {
    match error.kind() {
        ErrorKind::WouldBlock => Stopped::Waits(awaited),
        _ => Stopped::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::ServerConfig;
    use rustls::crypto::ring;
    use rustls::server::ResolvesServerCertUsingSni;

    use super::*;

    /// A socket whose client always has one more byte for it.
    struct Trickle<'a> {
        bytes: &'a [u8],
        reads: usize,
    }

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.reads += 1;
            self.bytes.read(&mut buffer[..1])
        }
    }

    impl Write for Trickle<'_> {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            Ok(data.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_call_ends_although_its_client_always_has_one_more_byte() {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        let (config, expiries) = (Arc::new(config), Arc::default());
        let server = TlsServer { config, handshake_timeout: Duration::MAX, expiries };
        let mut session = Session::new(&server).unwrap();
        let bytes = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 1000]].concat();
        let mut socket = Trickle { bytes: &bytes, reads: 0 };
        let waits = Err(Awaited::Data);
        let stopped = |stopped| match stopped {
            Stopped::Waits(awaited) => awaited,
            Stopped::Failed(error) => panic!("{error}"),
        };
        assert_eq!(session.handshake(&mut socket).map_err(stopped), waits);
        assert_eq!(socket.reads, MAX_READS);
        assert_eq!(session.fill(&mut socket).map(<[u8]>::len).map_err(stopped), Err(Awaited::Data));
        assert_eq!(socket.reads, 2 * MAX_READS);
    }
}
