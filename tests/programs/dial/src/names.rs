//! Names.

use crate::{Answer, Sockets, ok, wait};
use std::net::IpAddr;
use wasi::sockets::ip_name_lookup::{ResolveAddressStream, resolve_addresses};
use wasi::sockets::network::IpAddress;

pub fn run(sockets: &mut Sockets, words: &[&str]) -> Answer {
    match words {
        ["long", length] => {
            let name = "x".repeat(usize::try_from(crate::number(length)?).unwrap_or(0));
            all(&resolve_addresses(&sockets.network, &name)?)
        }
        // Begins a lookup, and does not wait for it.
        ["start", name] => {
            sockets.names.push(resolve_addresses(&sockets.network, name)?);
            ok()
        }
        ["leave"] => {
            sockets.names.pop();
            ok()
        }
        ["finish"] => all(&sockets.names.pop().ok_or("no lookup")?),
        [name] => all(&resolve_addresses(&sockets.network, name)?),
        _ => Err("unknown line".into()),
    }
}

fn all(addresses: &ResolveAddressStream) -> Answer {
    let mut found = Vec::new();
    loop {
        match wait(|| addresses.subscribe(), || addresses.resolve_next_address())? {
            Some(IpAddress::Ipv4((a, b, c, d))) => found.push(IpAddr::from([a, b, c, d])),
            Some(IpAddress::Ipv6(h)) => {
                found.push(IpAddr::from([h.0, h.1, h.2, h.3, h.4, h.5, h.6, h.7]));
            }
            None => break,
        }
    }
    Ok(found.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "))
}
