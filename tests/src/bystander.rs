//! A well-behaved client, which asks while other clients or handlers attack.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::load::{RESEND_AFTER, Target, ask_datagram};
use crate::process::TIMEOUT;

/// The address of bystanders, by which the log tells them from other clients. All of
/// 127.0.0.0/8 is this machine.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The prefix of the names of the Unix sockets of bystanders.
const NAME_PREFIX: &str = "socketserver-bystander";

/// A client that sends the same question each time and knows the answer.
#[derive(Debug, Clone)]
pub struct Bystander {
    target: Target,
    question: Vec<u8>,
    answer: Vec<u8>,
}

impl Bystander {
    /// Makes a client of the server at `endpoint`, in the form in which the server prints
    /// it. The address is of IPv4 or of a Unix socket.
    ///
    /// # Errors
    ///
    /// There is no client for such an endpoint.
    pub fn new(endpoint: &str, question: &[u8], answer: &[u8]) -> Result<Bystander> {
        let target = Target::parse(endpoint)?;
        Ok(Bystander { target, question: question.to_owned(), answer: answer.to_owned() })
    }

    /// Sends the question in a new connection or from a new socket, and reads the answer to
    /// its end. A datagram that is not answered is sent again.
    ///
    /// # Errors
    ///
    /// There is no answer, or a wrong one.
    pub fn ask(&self) -> Result<()> {
        match &self.target {
            Target::Tcp(server) => {
                let stream = TcpStream::from(inet(Type::STREAM, *server)?);
                stream.set_nodelay(true)?;
                self.ask_in_connection(&stream, |how| stream.shutdown(how))
            }
            Target::Unix(path) => {
                let stream = UnixStream::from(OwnedFd::from(unix(Type::STREAM, path)?));
                self.ask_in_connection(&stream, |how| stream.shutdown(how))
            }
            Target::Udp(server) => {
                let socket = UdpSocket::from(inet(Type::DGRAM, *server)?);
                self.ask_with_datagram(
                    |data| socket.send(data),
                    |data| socket.recv(data),
                    |time| socket.set_read_timeout(time),
                )
            }
            Target::Unixgram(path) => {
                let socket = UnixDatagram::from(OwnedFd::from(unix(Type::DGRAM, path)?));
                self.ask_with_datagram(
                    |data| socket.send(data),
                    |data| socket.recv(data),
                    |time| socket.set_read_timeout(time),
                )
            }
        }
        .with_context(|| format!("a bystander at {:?}", self.target))
    }

    /// Returns whether a line of the server's log names a bystander.
    pub fn is_named_in(line: &str) -> bool {
        line.contains(&format!("{SOURCE}:")) || line.contains(NAME_PREFIX)
    }

    fn ask_in_connection<S>(
        &self,
        mut stream: S,
        shutdown: impl Fn(Shutdown) -> std::io::Result<()>,
    ) -> Result<()>
    where
        S: Read + Write,
    {
        stream.write_all(&self.question)?;
        // The server may have answered and closed the connection already.
        let _ = shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).context("no answer")?;
        ensure!(answer == self.answer, "a wrong answer: {}", answer.escape_ascii());
        Ok(())
    }

    fn ask_with_datagram(
        &self,
        send: impl Fn(&[u8]) -> std::io::Result<usize>,
        recv: impl Fn(&mut [u8]) -> std::io::Result<usize>,
        set_timeout: impl Fn(Option<std::time::Duration>) -> std::io::Result<()>,
    ) -> Result<()> {
        set_timeout(Some(RESEND_AFTER))?;
        ask_datagram(&self.question, &self.answer, send, recv)
    }
}

fn inet(kind: Type, server: SocketAddr) -> Result<Socket> {
    ensure!(server.is_ipv4(), "a bystander at {SOURCE} cannot reach {server}");
    let socket = Socket::new(Domain::IPV4, kind, None)?;
    socket.bind(&SocketAddr::new(IpAddr::V4(SOURCE), 0).into())?;
    // A socket that waited for ever would hide the failure that the test looks for.
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    socket.connect(&server.into())?;
    Ok(socket)
}

fn unix(kind: Type, server: &Path) -> Result<Socket> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.bind(&SockAddr::unix(format!("\0{NAME_PREFIX}-{}-{number}", std::process::id()))?)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    socket.connect(&SockAddr::unix(server)?)?;
    Ok(socket)
}
