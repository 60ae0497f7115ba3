//! Does what the lines of its client say with sockets that it opens, and answers each line. A
//! new socket takes the place of the last one, which goes on a stack.
use socketserver_guest::{
    Address, AddressFamily, BaseRequestHandler, Context, Error, Result, Socket, SocketKind,
    UnixAddress, export, network,
};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Default)]
struct Dialer;

impl BaseRequestHandler for Dialer {
    fn handle(&mut self, cx: &mut Context) -> Result {
        let mut sockets = Vec::new();
        for line in BufReader::new(&cx.request).lines() {
            let line = line?;
            let words: Vec<&str> = line.split(' ').collect();
            let answer = match run(&words, &mut sockets, &cx.request) {
                Ok(answer) => answer,
                Err(error) => format!("E {error}"),
            };
            cx.request.sendall(format!("{answer}\n").as_bytes())?;
        }
        Ok(())
    }
}

fn run(
    words: &[&str],
    sockets: &mut Vec<Socket>,
    request: &Socket,
) -> std::result::Result<String, Box<dyn std::error::Error>> {
    let last = sockets.last().cloned();
    let last = || last.clone().ok_or("there is no socket");
    let number = |index: usize| words.get(index).and_then(|word| word.parse::<i32>().ok());
    let ok = || Ok("ok".to_owned());
    match words {
        ["socket", family, kind, ..] => {
            sockets.push(network::socket(
                family_of(family),
                kind_of(kind),
                number(3).unwrap_or(0),
            )?);
            ok()
        }
        ["pair", kind] => {
            let (one, other) = network::socketpair(kind_of(kind))?;
            sockets.extend([one, other]);
            ok()
        }
        ["swap"] => {
            let end = sockets.len();
            sockets.swap(end - 1, end - 2);
            ok()
        }
        ["drop"] => {
            sockets.pop();
            ok()
        }
        ["close"] => {
            last()?.close();
            ok()
        }
        ["timeout", seconds] => {
            last()?.settimeout(Some(Duration::from_secs_f64(seconds.parse()?)))?;
            ok()
        }
        ["connect", to] => {
            last()?.connect(&address(to)?)?;
            ok()
        }
        ["connect_ex", to] => Ok(last()?.connect_ex(&address(to)?).to_string()),
        ["bind", to] => {
            last()?.bind(&address(to)?)?;
            ok()
        }
        ["listen"] => {
            last()?.listen(5)?;
            ok()
        }
        ["accept"] => {
            let (connection, address) = last()?.accept()?;
            sockets.push(connection);
            Ok(address.to_string())
        }
        ["name"] => Ok(last()?.getsockname()?.to_string()),
        ["peer"] => Ok(last()?.getpeername()?.to_string()),
        ["send", text] => Ok(last()?.send(text.as_bytes())?.to_string()),
        ["sendto", text, to] => Ok(last()?.sendto(text.as_bytes(), &address(to)?)?.to_string()),
        ["recv"] => Ok(String::from_utf8_lossy(&last()?.recv(1024)?).into_owned()),
        ["dial", host, port] => {
            let timeout = Some(Duration::from_secs(5));
            sockets.push(network::create_connection((host, port.parse()?), timeout, None)?);
            ok()
        }
        ["lookup", host] => {
            let found =
                network::getaddrinfo(Some(host), Some("80"), None, Some(SocketKind::Stream), 0, 0)?;
            let found: Vec<_> = found.iter().map(|one| one.address.to_string()).collect();
            Ok(found.join(","))
        }
        ["lookup-long", length] => {
            let name = "a".repeat(length.parse()?);
            network::getaddrinfo(Some(&name), None, None, None, 0, 0)?;
            ok()
        }
        ["hostbyname", host] => Ok(network::gethostbyname(host)?.to_string()),
        ["select", seconds] => {
            let timeout = Some(Duration::from_secs_f64(seconds.parse()?));
            let sockets: Vec<&Socket> = sockets.iter().collect();
            let ready = network::select(&sockets, &sockets, &[request], timeout)?;
            Ok(format!("{:?} {:?} {:?}", ready.readers, ready.writers, ready.exceptional))
        }
        // Waits for its own sockets, for the request, for both, or for nothing.
        ["wait", what] => {
            let mut readers: Vec<&Socket> = Vec::new();
            if ["own", "both"].contains(what) {
                readers.extend(sockets.iter());
            }
            if ["client", "both"].contains(what) {
                readers.push(request);
            }
            network::select(&readers, &[], &[], None)?;
            ok()
        }
        ["setsockopt", _, _, _] => {
            let arguments = (1..4).map(number).collect::<Option<Vec<_>>>().ok_or("no number")?;
            last()?.setsockopt(arguments[0], arguments[1], arguments[2])?;
            ok()
        }
        ["getsockopt", _, _] => {
            let level = number(1).ok_or("no number")?;
            Ok(last()?.getsockopt(level, number(2).ok_or("no number")?)?.to_string())
        }
        // Opens sockets until it may open no more, and returns their number.
        ["flood", family, kind] => {
            let before = sockets.len();
            loop {
                match network::socket(family_of(family), kind_of(kind), 0) {
                    Ok(socket) => sockets.push(socket),
                    Err(error) => return Ok(format!("{} {error}", sockets.len() - before)),
                }
            }
        }
        // Connects until the host ends the request.
        ["storm", to] => loop {
            let socket = network::socket(AddressFamily::Inet, SocketKind::Stream, 0)?;
            let _ = socket.connect(&address(to)?);
        },
        ["denials", to] => {
            let mut denied = 0;
            for _ in 0..1000 {
                denied += u32::from(last()?.connect(&address(to)?) == Err(Error::Denied));
            }
            Ok(denied.to_string())
        }
        _ => Err("there is no such command".into()),
    }
}

fn family_of(word: &str) -> AddressFamily {
    match word {
        "inet" => AddressFamily::Inet,
        "inet6" => AddressFamily::Inet6,
        _ => AddressFamily::Unix,
    }
}

fn kind_of(word: &str) -> SocketKind {
    match word {
        "stream" => SocketKind::Stream,
        "dgram" => SocketKind::Dgram,
        "seqpacket" => SocketKind::Seqpacket,
        "rdm" => SocketKind::Rdm,
        _ => SocketKind::Raw,
    }
}

fn address(text: &str) -> std::result::Result<Address, Box<dyn std::error::Error>> {
    if let Some(name) = text.strip_prefix('@') {
        return Ok(Address::Unix(UnixAddress::Abstract(name.into())));
    }
    if text.starts_with('/') {
        return Ok(Address::Unix(UnixAddress::Pathname(text.into())));
    }
    Ok(match text.parse()? {
        SocketAddr::V4(address) => Address::Ipv4(address),
        SocketAddr::V6(address) => Address::Ipv6(address),
    })
}

export!(Dialer);
