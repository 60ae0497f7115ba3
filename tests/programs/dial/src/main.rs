//! Does what the lines of its client say with sockets of `wasi:sockets`, and answers each line. A
//! new socket takes the place of the last one, which goes on a stack.

mod names;
mod tcp;
mod udp;

use std::io::{self, BufRead, Write, stdin, stdout};
use std::net::SocketAddr;

use wasi::io::poll::Pollable;
use wasi::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, Network,
};

/// The sockets of the program.
pub struct Sockets {
    network: Network,
    tcp: Vec<tcp::Socket>,
    udp: Vec<udp::Socket>,
    names: Vec<wasi::sockets::ip_name_lookup::ResolveAddressStream>,
}

/// The answer to a line, or the error of a call.
pub type Answer = Result<String, Failure>;

/// An error of a call.
pub struct Failure(String);

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Failure(code.name().to_owned())
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Failure(text.to_owned())
    }
}

fn main() -> io::Result<()> {
    let mut sockets = Sockets {
        network: wasi::sockets::instance_network::instance_network(),
        tcp: Vec::new(),
        udp: Vec::new(),
        names: Vec::new(),
    };
    for line in stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match run(&mut sockets, &words) {
            Ok(answer) => answer,
            Err(Failure(name)) => format!("E {name}"),
        };
        println!("{answer}");
        stdout().flush()?;
    }
    Ok(())
}

fn run(sockets: &mut Sockets, words: &[&str]) -> Answer {
    match words {
        ["tcp", rest @ ..] => tcp::run(sockets, rest),
        ["udp", rest @ ..] => udp::run(sockets, rest),
        ["resolve", rest @ ..] => names::run(sockets, rest),
        ["sleep", millis] => {
            let nanos = number(millis)? * 1_000_000;
            wasi::clocks::monotonic_clock::subscribe_duration(nanos).block();
            ok()
        }
        _ => Err("unknown line".into()),
    }
}

pub fn ok() -> Answer {
    Ok("ok".to_owned())
}

pub fn number(word: &str) -> Result<u64, Failure> {
    word.parse().map_err(|_| Failure::from("not a number"))
}

pub fn family(word: &str) -> IpAddressFamily {
    if word == "6" { IpAddressFamily::Ipv6 } else { IpAddressFamily::Ipv4 }
}

/// Repeats a call until it does not have to wait.
pub fn wait<T>(
    subscribe: impl Fn() -> Pollable,
    mut call: impl FnMut() -> Result<T, ErrorCode>,
) -> Result<T, ErrorCode> {
    loop {
        match call() {
            Err(ErrorCode::WouldBlock) => subscribe().block(),
            result => return result,
        }
    }
}

pub fn address(word: &str) -> Result<IpSocketAddress, Failure> {
    let address: SocketAddr = word.parse().map_err(|_| Failure::from("not an address"))?;
    Ok(match address {
        SocketAddr::V4(address) => {
            let [a, b, c, d] = address.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) })
        }
        SocketAddr::V6(address) => {
            let s = address.ip().segments();
            IpSocketAddress::Ipv6(Ipv6SocketAddress {
                port: address.port(),
                flow_info: address.flowinfo(),
                address: (s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]),
                scope_id: address.scope_id(),
            })
        }
    })
}

pub fn text(address: IpSocketAddress) -> String {
    match address {
        IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) }) => {
            SocketAddr::from(([a, b, c, d], port)).to_string()
        }
        IpSocketAddress::Ipv6(Ipv6SocketAddress { port, address: h, .. }) => {
            SocketAddr::from(([h.0, h.1, h.2, h.3, h.4, h.5, h.6, h.7], port)).to_string()
        }
    }
}
