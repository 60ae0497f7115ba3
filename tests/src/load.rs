//! Clients that send one request after the other.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// What a client sends, and what `upper` answers.
const QUESTION: [u8; 64] = [b'q'; 64];
const ANSWER: [u8; 64] = [b'Q'; 64];

/// How long a client waits for a datagram before it takes it for lost.
pub(crate) const LOST: Duration = Duration::from_millis(500);

/// How often a datagram may be lost before the server is taken for broken.
const TRIES: u32 = 20;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `tcp://`
    Tcp(SocketAddr),
    /// `udp://`
    Udp(SocketAddr),
    /// `unix://`
    Unix(PathBuf),
    /// `unixgram://`
    Unixgram(PathBuf),
}

impl Target {
    /// Takes what a server prints as its endpoint.
    pub fn parse(endpoint: &str) -> Result<Target> {
        let (scheme, address) = endpoint.split_once("://").context("an endpoint has a scheme")?;
        let (address, _) = address.split_once('?').unwrap_or((address, ""));
        Ok(match scheme {
            "tcp" => Target::Tcp(address.parse()?),
            "udp" => Target::Udp(address.parse()?),
            "unix" => Target::Unix(address.into()),
            "unixgram" => Target::Unixgram(address.into()),
            _ => bail!("no client for {endpoint}"),
        })
    }
}

/// A client of an `upper` server.
pub enum Client {
    /// Connects for each request.
    Tcp(SocketAddr),
    /// Connects for each request.
    Unix(PathBuf),
    /// Has one socket for all of them.
    Udp(UdpSocket),
    /// Has one socket for all of them.
    Unixgram(UnixDatagram),
}

impl Client {
    /// A client of the server at `target`.
    pub fn new(target: &Target) -> Result<Client> {
        Ok(match target {
            Target::Tcp(address) => Client::Tcp(*address),
            Target::Unix(path) => Client::Unix(path.clone()),
            Target::Udp(address) => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                socket.connect(address)?;
                socket.set_read_timeout(Some(LOST))?;
                Client::Udp(socket)
            }
            Target::Unixgram(path) => {
                // An abstract name that the kernel chooses: no file is left.
                let socket =
                    socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None)?;
                socket.bind(&socket2::SockAddr::unix("")?)?;
                let socket = UnixDatagram::from(std::os::fd::OwnedFd::from(socket));
                socket.connect(path)?;
                socket.set_read_timeout(Some(LOST))?;
                Client::Unixgram(socket)
            }
        })
    }

    /// Sends one request and reads its answer to the end. A datagram that is
    /// lost is sent again.
    ///
    /// Errors: there is no answer, or a wrong one.
    pub fn ask(&mut self) -> Result<()> {
        match self {
            Client::Tcp(address) => whole(TcpStream::connect(*address)?),
            Client::Unix(path) => whole(UnixStream::connect(path)?),
            Client::Udp(socket) => {
                datagram(&QUESTION, &ANSWER, |data| socket.send(data), |data| socket.recv(data))
            }
            Client::Unixgram(socket) => {
                datagram(&QUESTION, &ANSWER, |data| socket.send(data), |data| socket.recv(data))
            }
        }
    }
}

fn whole(mut stream: impl Read + Write) -> Result<()> {
    stream.write_all(&QUESTION)?;
    let mut answer = Vec::with_capacity(ANSWER.len());
    stream.read_to_end(&mut answer)?;
    ensure!(answer == ANSWER, "a wrong answer: {answer:?}");
    Ok(())
}

/// Sends `question` until `answer` comes.
pub(crate) fn datagram(
    question: &[u8],
    answer: &[u8],
    send: impl Fn(&[u8]) -> std::io::Result<usize>,
    recv: impl Fn(&mut [u8]) -> std::io::Result<usize>,
) -> Result<()> {
    let mut received = vec![0; 2 * answer.len()];
    for _ in 0..TRIES {
        send(question)?;
        match recv(&mut received) {
            Ok(count) => {
                let received = &received[..count];
                ensure!(received == answer, "a wrong answer: {}", received.escape_ascii());
                return Ok(());
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("{TRIES} datagrams in a row were not answered")
}
