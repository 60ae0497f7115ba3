//! A read-only TFTP server (RFC 1350) with the options `blksize`, `tsize` and `timeout` (RFC 2347
//! to 2349). Each transfer has a UDP port of its own.
//!
//! The operator grants a directory as `/srv`, and the addresses of the clients:
//! `--dir ./boot::/srv:ro --connect udp://192.0.2.0/24:*`.
use socketserver_guest::{Address, BaseRequestHandler, Context, Datagram, Error, Result, Socket};
use socketserver_guest::{AddressFamily, SocketKind, export, network};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

/// The longest request, in bytes, as RFC 2347 has it.
const LONGEST_REQUEST: usize = 512;
/// The number of times that a packet is sent until the client acknowledges it.
const ATTEMPTS: usize = 5;
/// The seconds until a packet is sent again, and the most that a client may ask for: the
/// `--idle-timeout` of the server is longer.
const TIMEOUT: u64 = 1;
const LONGEST_TIMEOUT: u64 = 5;
/// The bytes of a block without `blksize`, and the limits of that option.
const BLOCK: u64 = 512;
const SHORTEST_BLOCK: u64 = 8;
const LONGEST_BLOCK: u64 = 65_464;

const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACKNOWLEDGEMENT: u16 = 4;
const ERROR: u16 = 5;
const OPTIONS: u16 = 6;

#[derive(Default)]
struct Tftp;

impl BaseRequestHandler<Datagram> for Tftp {
    fn handle(&mut self, cx: &mut Context<Datagram>) -> Result {
        let (request, socket) = &cx.request;
        match accept(request) {
            Ok(transfer) => transfer.run(&open_port(socket)?, &cx.client_address),
            // An error is not answered by an error, or two servers would go on for ever.
            Err(_) if opcode(request) == ERROR => Ok(()),
            Err(refusal) => {
                socket.sendto(&refusal.to_packet(), &cx.client_address)?;
                Ok(())
            }
        }
    }
}

/// Opens a socket at the address of the server, with a port that the kernel chooses.
fn open_port(server: &Socket) -> Result<Socket> {
    let (family, address) = match server.getsockname()? {
        Address::Ipv4(mut address) => {
            address.set_port(0);
            (AddressFamily::Inet, Address::Ipv4(address))
        }
        Address::Ipv6(mut address) => {
            address.set_port(0);
            (AddressFamily::Inet6, Address::Ipv6(address))
        }
        Address::Unix(_) => return Err("TFTP is for UDP".into()),
    };
    let socket = network::socket(family, SocketKind::Dgram, 0)?;
    socket.bind(&address)?;
    Ok(socket)
}

/// The error of a request, as the client gets it.
struct Refusal(u16, &'static str);

impl Refusal {
    fn to_packet(&self) -> Vec<u8> {
        packet(ERROR, self.0, &[self.1.as_bytes(), b"\0"].concat())
    }
}

/// The request of a client.
struct Transfer {
    blocks: Blocks,
    block_size: usize,
    timeout: Duration,
    /// The options that the server accepts, with their values, each followed by a zero.
    accepted: Vec<u8>,
}

/// Reads a request, and opens its file.
fn accept(request: &[u8]) -> Result<Transfer, Refusal> {
    const MALFORMED: Refusal = Refusal(4, "illegal TFTP operation");
    match opcode(request) {
        READ if request.len() <= LONGEST_REQUEST => {}
        WRITE => return Err(Refusal(2, "this server is read-only")),
        _ => return Err(MALFORMED),
    }
    let text = request[2..].strip_suffix(b"\0").ok_or(MALFORMED)?;
    let mut words = text.split(|byte| *byte == 0).map(|word| str::from_utf8(word).ok());
    let mut word = || words.next().flatten();
    let (path, mode) = (word().ok_or(MALFORMED)?, word().ok_or(MALFORMED)?);
    let is_netascii = mode.eq_ignore_ascii_case("netascii");
    if !is_netascii && !mode.eq_ignore_ascii_case("octet") {
        return Err(Refusal(4, "the modes are octet and netascii"));
    }
    let (file, length) = open(path)?;
    let mut transfer = Transfer {
        blocks: Blocks { file, is_netascii, pending: Vec::new() },
        block_size: BLOCK as usize,
        timeout: Duration::from_secs(TIMEOUT),
        accepted: Vec::new(),
    };
    while let (Some(name), Some(value)) = (word(), word()) {
        let Ok(value) = value.parse::<u64>() else { continue };
        let name = name.to_ascii_lowercase();
        let value = match name.as_str() {
            "blksize" if value >= SHORTEST_BLOCK => {
                let size = value.min(LONGEST_BLOCK);
                transfer.block_size = size as usize;
                size
            }
            "timeout" if (1..=LONGEST_TIMEOUT).contains(&value) => {
                transfer.timeout = Duration::from_secs(value);
                value
            }
            // The length of a text in netascii is not known before it is read.
            "tsize" if !is_netascii => length,
            _ => continue,
        };
        transfer.accepted.extend(format!("{name}\0{value}\0").into_bytes());
    }
    Ok(transfer)
}

/// Opens the file that a client names, and returns its length too.
fn open(path: &str) -> Result<(File, u64), Refusal> {
    const DENIED: Refusal = Refusal(2, "access violation");
    if path.split('/').any(|name| name == "..") {
        return Err(DENIED);
    }
    let opened = File::open(format!("/srv/{}", path.trim_start_matches('/')));
    match opened.and_then(|file| file.metadata().map(|facts| (file, facts))) {
        Ok((_, facts)) if facts.is_dir() => Err(DENIED),
        Ok((file, facts)) => Ok((file, facts.len())),
        Err(error) => Err(match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Refusal(1, "file not found"),
            ErrorKind::OutOfMemory => Refusal(0, "too many files are open"),
            _ => DENIED,
        }),
    }
}

impl Transfer {
    fn run(mut self, socket: &Socket, client: &Address) -> Result {
        if !self.accepted.is_empty() {
            let options = [&OPTIONS.to_be_bytes()[..], &self.accepted].concat();
            if !self.deliver(socket, client, &options, 0)? {
                return Ok(());
            }
        }
        // The number begins again after 65,535, at 0.
        let mut number = 0_u16;
        loop {
            number = number.wrapping_add(1);
            let block = self.blocks.next(self.block_size)?;
            let is_last = block.len() < self.block_size;
            if !self.deliver(socket, client, &packet(DATA, number, &block), number)? || is_last {
                return Ok(());
            }
        }
    }

    /// Sends a packet until the client has acknowledged it. Returns false if the client has ended
    /// the transfer.
    fn deliver(
        &self,
        socket: &Socket,
        client: &Address,
        packet: &[u8],
        number: u16,
    ) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            socket.sendto(packet, client)?;
            // The packet is sent again when the time is over, whatever else comes.
            let end = Instant::now() + self.timeout;
            let left = || end.saturating_duration_since(Instant::now());
            while !left().is_zero() {
                socket.settimeout(Some(left().max(Duration::from_millis(1))))?;
                let (answer, from) = match socket.recvfrom(LONGEST_REQUEST, 0) {
                    Ok(received) => received,
                    Err(Error::TimedOut) => break,
                    Err(error) => return Err(error.into()),
                };
                if from.as_ref() != Some(client) {
                    refuse(socket, &answer, from.as_ref());
                } else if opcode(&answer) == ERROR {
                    return Ok(false);
                } else if answer.starts_with(&header(ACKNOWLEDGEMENT, number)) {
                    return Ok(true);
                }
                // An old acknowledgement came late. A packet for each would double all packets
                // that follow.
            }
        }
        Err("the client does not answer".into())
    }
}

/// Tells another client that the port is not for it. It may have no right to an answer, and the
/// transfer goes on.
fn refuse(socket: &Socket, packet: &[u8], from: Option<&Address>) {
    if let Some(from) = from.filter(|_| opcode(packet) != ERROR) {
        let _ = socket.sendto(&Refusal(5, "unknown transfer ID").to_packet(), from);
    }
}

/// A file as the client gets it, block by block.
struct Blocks {
    file: File,
    is_netascii: bool,
    /// The bytes that were read and did not fit into a block.
    pending: Vec<u8>,
}

impl Blocks {
    fn next(&mut self, size: usize) -> io::Result<Vec<u8>> {
        let mut data = vec![0; size];
        while self.pending.len() < size {
            let count = self.file.read(&mut data)?;
            if count == 0 {
                break;
            }
            for byte in &data[..count] {
                match byte {
                    b'\n' if self.is_netascii => self.pending.extend(b"\r\n"),
                    b'\r' if self.is_netascii => self.pending.extend(b"\r\0"),
                    byte => self.pending.push(*byte),
                }
            }
        }
        let rest = self.pending.split_off(self.pending.len().min(size));
        Ok(std::mem::replace(&mut self.pending, rest))
    }
}

fn packet(opcode: u16, number: u16, content: &[u8]) -> Vec<u8> {
    [&header(opcode, number), content].concat()
}

fn header(opcode: u16, number: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (opcode.to_be_bytes(), number.to_be_bytes());
    [a, b, c, d]
}

fn opcode(packet: &[u8]) -> u16 {
    packet.first_chunk().map_or(0, |opcode| u16::from_be_bytes(*opcode))
}

export!(Tftp as BaseRequestHandler<Datagram>);
