//! A well-behaved client, while others are not.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::load::{Target, datagram};
use crate::process::PATIENCE;

/// The address that bystanders come from, so that the log tells them from
/// others. All of 127.0.0.0/8 is this machine.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// How the names of the Unix sockets of bystanders begin.
const NAME: &str = "socketserver-bystander";

/// A client that asks one question over and over, and knows the answer.
#[derive(Debug, Clone)]
pub struct Bystander {
    target: Target,
    question: Vec<u8>,
    answer: Vec<u8>,
}

impl Bystander {
    /// A client of the server at `endpoint`, which is what it printed, IPv4 or
    /// Unix.
    ///
    /// Errors: no client can talk to such an endpoint.
    pub fn new(endpoint: &str, question: &[u8], answer: &[u8]) -> Result<Bystander> {
        let target = Target::parse(endpoint)?;
        Ok(Bystander { target, question: question.to_owned(), answer: answer.to_owned() })
    }

    /// Asks in a new connection or from a new socket, and reads the answer to its
    /// end. A datagram that is lost is sent again.
    ///
    /// Errors: there is no answer, or a wrong one.
    pub fn ask(&self) -> Result<()> {
        match &self.target {
            Target::Tcp(server) => {
                let stream = TcpStream::from(inet(Type::STREAM, *server)?);
                stream.set_nodelay(true)?;
                self.connection(&stream, |how| stream.shutdown(how))
            }
            Target::Unix(path) => {
                let stream = UnixStream::from(OwnedFd::from(unix(Type::STREAM, path)?));
                self.connection(&stream, |how| stream.shutdown(how))
            }
            Target::Udp(server) => {
                let socket = UdpSocket::from(inet(Type::DGRAM, *server)?);
                self.datagram(
                    |data| socket.send(data),
                    |data| socket.recv(data),
                    |time| socket.set_read_timeout(time),
                )
            }
            Target::Unixgram(path) => {
                let socket = UnixDatagram::from(OwnedFd::from(unix(Type::DGRAM, path)?));
                self.datagram(
                    |data| socket.send(data),
                    |data| socket.recv(data),
                    |time| socket.set_read_timeout(time),
                )
            }
        }
        .with_context(|| format!("a bystander at {:?}", self.target))
    }

    /// Whether a line of the server's log is about a bystander.
    pub fn is_named_in(line: &str) -> bool {
        line.contains(&format!("{SOURCE}:")) || line.contains(NAME)
    }

    fn connection<S>(
        &self,
        mut stream: S,
        shutdown: impl Fn(Shutdown) -> std::io::Result<()>,
    ) -> Result<()>
    where
        S: Read + Write,
    {
        stream.write_all(&self.question)?;
        // The server may have answered and gone already.
        let _ = shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).context("no answer")?;
        ensure!(answer == self.answer, "a wrong answer: {}", answer.escape_ascii());
        Ok(())
    }

    fn datagram(
        &self,
        send: impl Fn(&[u8]) -> std::io::Result<usize>,
        recv: impl Fn(&mut [u8]) -> std::io::Result<usize>,
        patience: impl Fn(Option<std::time::Duration>) -> std::io::Result<()>,
    ) -> Result<()> {
        patience(Some(crate::load::LOST))?;
        datagram(&self.question, &self.answer, send, recv)
    }
}

fn inet(kind: Type, server: SocketAddr) -> Result<Socket> {
    ensure!(server.is_ipv4(), "a bystander comes from {SOURCE}, and {server} is not for it");
    let socket = Socket::new(Domain::IPV4, kind, None)?;
    socket.bind(&SocketAddr::new(IpAddr::V4(SOURCE), 0).into())?;
    // A socket that waits for ever would hide what a test is for.
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(&server.into())?;
    Ok(socket)
}

fn unix(kind: Type, server: &Path) -> Result<Socket> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.bind(&SockAddr::unix(format!("\0{NAME}-{}-{number}", std::process::id()))?)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(&SockAddr::unix(server)?)?;
    Ok(socket)
}
