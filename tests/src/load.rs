//! Clients that send one request after another.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::TIMEOUT;

/// The data that a client sends, and the answer of `upper`.
const QUESTION: [u8; 64] = [b'q'; 64];
const ANSWER: [u8; 64] = [b'Q'; 64];

/// The time after which a client sends a datagram again that is not answered.
pub(crate) const RESEND_AFTER: Duration = Duration::from_millis(500);

/// The address at which a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An endpoint `tcp://`.
    Tcp(SocketAddr),
    /// An endpoint `udp://`.
    Udp(SocketAddr),
    /// An endpoint `unix://`.
    Unix(PathBuf),
    /// An endpoint `unixgram://`.
    Unixgram(PathBuf),
}

impl Target {
    /// Parses an endpoint as a server prints it.
    ///
    /// # Errors
    ///
    /// The text is not an endpoint.
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
    /// Connects over TCP for each request.
    Tcp(SocketAddr),
    /// Connects to a Unix socket for each request.
    Unix(PathBuf),
    /// Sends all requests from one UDP socket.
    Udp(UdpSocket),
    /// Sends all requests from one Unix socket.
    Unixgram(UnixDatagram),
}

impl Client {
    /// Makes a client of the server at `target`.
    ///
    /// # Errors
    ///
    /// The kernel refuses a socket.
    pub fn new(target: &Target) -> Result<Client> {
        Ok(match target {
            Target::Tcp(address) => Client::Tcp(*address),
            Target::Unix(path) => Client::Unix(path.clone()),
            Target::Udp(address) => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                socket.connect(address)?;
                socket.set_read_timeout(Some(RESEND_AFTER))?;
                Client::Udp(socket)
            }
            Target::Unixgram(path) => {
                // The kernel chooses an abstract name, which leaves no file behind.
                let socket =
                    socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None)?;
                socket.bind(&socket2::SockAddr::unix("")?)?;
                let socket = UnixDatagram::from(std::os::fd::OwnedFd::from(socket));
                socket.connect(path)?;
                socket.set_read_timeout(Some(RESEND_AFTER))?;
                Client::Unixgram(socket)
            }
        })
    }

    /// Sends one request and reads its answer to the end. A datagram that is not answered is
    /// sent again.
    ///
    /// # Errors
    ///
    /// There is no answer, or a wrong one.
    pub fn ask(&mut self) -> Result<()> {
        match self {
            Client::Tcp(address) => ask_stream(TcpStream::connect(*address)?),
            Client::Unix(path) => ask_stream(UnixStream::connect(path)?),
            Client::Udp(socket) => {
                ask_datagram(&QUESTION, &ANSWER, |data| socket.send(data), |data| socket.recv(data))
            }
            Client::Unixgram(socket) => {
                ask_datagram(&QUESTION, &ANSWER, |data| socket.send(data), |data| socket.recv(data))
            }
        }
    }
}

fn ask_stream(mut stream: impl Read + Write) -> Result<()> {
    stream.write_all(&QUESTION)?;
    let mut answer = Vec::with_capacity(ANSWER.len());
    stream.read_to_end(&mut answer)?;
    ensure!(answer == ANSWER, "a wrong answer: {answer:?}");
    Ok(())
}

/// Sends `question` again and again until `answer` comes. The read timeout of the socket is
/// [`RESEND_AFTER`].
pub(crate) fn ask_datagram(
    question: &[u8],
    answer: &[u8],
    send: impl Fn(&[u8]) -> std::io::Result<usize>,
    recv: impl Fn(&mut [u8]) -> std::io::Result<usize>,
) -> Result<()> {
    let mut received = vec![0; 2 * answer.len()];
    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT {
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
    bail!("no datagram was answered in {TIMEOUT:?}")
}
