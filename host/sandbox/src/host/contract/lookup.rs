//! `getaddrinfo` of `interface network`.

use dns_lookup::{AddrInfoHints, LookupErrorKind};
use socketserver::Address;
use wasmtime::Result;
use wasmtime::component::WasmStr;

use crate::host::bindings::network::{AddressInfo, LookupError};
use crate::host::bindings::types::{Family, SocketKind};
use crate::limits::kill::Kill;
use crate::lookup::{Found, GUEST_FLAGS, LONGEST_NAME, Lookup};
use crate::network_grants::HostName;

use super::network::{Cx, network, network_mut};
use super::sockets::deny;

type Answer = Result<(std::result::Result<Vec<AddressInfo>, LookupError>,)>;

/// Looks up a host. An address is no secret, and takes no lookup. Any other host must be
/// granted: a lookup tells the owner of the name's servers what the guest asked for.
pub(super) async fn getaddrinfo(
    mut cx: Cx<'_>,
    (host, service, family, kind, proto, flags): (
        Option<WasmStr>,
        Option<WasmStr>,
        Option<Family>,
        Option<SocketKind>,
        i32,
        i32,
    ),
) -> Answer {
    let error = |error| Ok((Err(error),));
    let (Ok(host), Ok(service)) = (text(&cx, host)?, text(&cx, service)?) else {
        return error(LookupError::Noname);
    };
    if service.as_ref().is_some_and(|service| service.parse::<u16>().is_err()) {
        return error(LookupError::Service);
    }
    // Other flags make the C library load libraries, or are unknown.
    if flags & !(GUEST_FLAGS | libc::AI_CANONNAME) != 0 {
        return error(LookupError::Badflags);
    }
    // A canonical name would be one more name that the guest learns.
    let flags = flags & GUEST_FLAGS | libc::AI_NUMERICSERV;
    let numeric = AddrInfoHints {
        flags: flags | libc::AI_NUMERICHOST,
        address: family.map_or(0, family_number),
        socktype: kind.map_or(0, kind_number),
        protocol: proto,
    };
    let only_numeric = host.is_none() || flags & libc::AI_NUMERICHOST != 0;
    let lookup = Lookup { host, service, hints: numeric };
    match lookup.run() {
        Ok(found) => return Ok((Ok(found.iter().filter_map(info).collect()),)),
        Err(LookupErrorKind::NoName | LookupErrorKind::NoData) if !only_numeric => {}
        Err(kind) => return error(lookup_error(kind)),
    }
    let name = lookup.host.clone().unwrap_or_default();
    // A text that is no name would say what it likes in the log.
    let Ok(asked) = name.parse::<HostName>() else { return error(LookupError::Noname) };
    let Some(granted) = network(&cx)?.grants().may_resolve(&name).cloned() else {
        deny(&mut cx, &format!("lookup of {asked}: --resolve {asked} would permit it"));
        return error(LookupError::Denied);
    };
    let hints = AddrInfoHints { flags, ..numeric };
    let looked_up = network_mut(&mut cx)?.look_up(&granted, Lookup { hints, ..lookup }).await;
    let found = match looked_up {
        Ok(Ok(found)) => found,
        Ok(Err(kind)) => return error(lookup_error(kind)),
        Err(failed) => {
            return match Kill::of_call(&failed) {
                Some(Kill::Idle { limit }) => Err(Kill::Outbound { limit }.into()),
                Some(kill) => Err(kill.into()),
                None => error(LookupError::System),
            };
        }
    };
    Ok((Ok(found.iter().filter_map(info).collect()),))
}

/// Returns a text that a guest passes. The inner error stands for one that is no name.
fn text(cx: &Cx<'_>, text: Option<WasmStr>) -> Result<std::result::Result<Option<String>, NoName>> {
    let Some(text) = text else { return Ok(Ok(None)) };
    let text = text.to_str(cx)?;
    let fits = text.len() <= LONGEST_NAME && !text.contains('\0');
    Ok(if fits { Ok(Some(text.into_owned())) } else { Err(NoName) })
}

/// A text is longer than any name, or has a zero byte in it.
struct NoName;

fn info(found: &Found) -> Option<AddressInfo> {
    let family = if found.address.is_ipv4() { Family::AfInet } else { Family::AfInet6 };
    let socket_type = [
        SocketKind::SockStream,
        SocketKind::SockDgram,
        SocketKind::SockRaw,
        SocketKind::SockRdm,
        SocketKind::SockSeqpacket,
    ];
    let socket_type =
        socket_type.into_iter().find(|kind| kind_number(*kind) == found.socket_type)?;
    let address = (&Address::from(found.address)).into();
    Some(AddressInfo { family, socket_type, proto: found.protocol, address })
}

fn family_number(family: Family) -> i32 {
    match family {
        Family::AfInet => libc::AF_INET,
        Family::AfInet6 => libc::AF_INET6,
        Family::AfUnix => libc::AF_UNIX,
    }
}

fn kind_number(kind: SocketKind) -> i32 {
    match kind {
        SocketKind::SockStream => libc::SOCK_STREAM,
        SocketKind::SockDgram => libc::SOCK_DGRAM,
        SocketKind::SockSeqpacket => libc::SOCK_SEQPACKET,
        SocketKind::SockRdm => libc::SOCK_RDM,
        SocketKind::SockRaw => libc::SOCK_RAW,
    }
}

fn lookup_error(kind: LookupErrorKind) -> LookupError {
    match kind {
        LookupErrorKind::Again => LookupError::Again,
        LookupErrorKind::Badflags => LookupError::Badflags,
        LookupErrorKind::NoName | LookupErrorKind::NoData => LookupError::Noname,
        LookupErrorKind::Fail => LookupError::Fail,
        LookupErrorKind::Family => LookupError::Family,
        LookupErrorKind::Socktype => LookupError::Socktype,
        LookupErrorKind::Service => LookupError::Service,
        LookupErrorKind::Memory => LookupError::Memory,
        LookupErrorKind::System | LookupErrorKind::Unknown | LookupErrorKind::IO => {
            LookupError::System
        }
    }
}
