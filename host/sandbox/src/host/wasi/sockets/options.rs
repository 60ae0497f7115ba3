//! The options of sockets that a guest opens. Sizes of buffers have the bound that they have in
//! the contract.

use std::time::Duration;

use rustix::net::sockopt;
use socketserver::Request;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};

use super::Outcome;

/// The longest time that the kernel takes for keep-alive, in seconds.
const LONGEST: u64 = 32_767;
/// The most probes of keep-alive that the kernel takes.
const MOST_PROBES: u32 = 127;
const NANOS: u64 = 1_000_000_000;

/// A buffer of a socket.
#[derive(Clone, Copy)]
pub(super) enum Buffer {
    Receive,
    Send,
}

impl Buffer {
    /// Returns the number of the option of `SOL_SOCKET`.
    fn option(self) -> i32 {
        match self {
            Buffer::Receive => libc::SO_RCVBUF,
            Buffer::Send => libc::SO_SNDBUF,
        }
    }
}

/// Returns the size of a buffer that was asked for. The kernel has twice as much.
pub(super) fn buffer_size(socket: &Request, buffer: Buffer) -> Outcome<u64> {
    let size = socket.getsockopt(libc::SOL_SOCKET, buffer.option())?;
    Ok(u64::try_from(size).unwrap_or(0) / 2)
}

pub(super) fn set_buffer_size(socket: &Request, buffer: Buffer, size: u64) -> Outcome<()> {
    check_positive(size)?;
    let size = i32::try_from(size).unwrap_or(i32::MAX);
    Ok(socket.setsockopt(libc::SOL_SOCKET, buffer.option(), size)?)
}

pub(super) fn hop_limit(socket: &Request, family: IpAddressFamily) -> Outcome<u8> {
    match family {
        IpAddressFamily::Ipv4 => {
            let limit = sockopt::ip_ttl(socket)?;
            u8::try_from(limit).map_err(|_| ErrorCode::NotSupported.into())
        }
        IpAddressFamily::Ipv6 => Ok(sockopt::ipv6_unicast_hops(socket)?),
    }
}

pub(super) fn set_hop_limit(socket: &Request, family: IpAddressFamily, limit: u8) -> Outcome<()> {
    check_positive(limit.into())?;
    let set = match family {
        IpAddressFamily::Ipv4 => sockopt::set_ip_ttl(socket, limit.into()),
        IpAddressFamily::Ipv6 => sockopt::set_ipv6_unicast_hops(socket, Some(limit)),
    };
    Ok(set?)
}

pub(super) fn keep_alive_enabled(socket: &Request) -> Outcome<bool> {
    Ok(sockopt::socket_keepalive(socket)?)
}

pub(super) fn set_keep_alive_enabled(socket: &Request, enabled: bool) -> Outcome<()> {
    Ok(sockopt::set_socket_keepalive(socket, enabled)?)
}

/// A time of keep-alive.
#[derive(Clone, Copy)]
pub(super) enum KeepAliveTime {
    /// The time without data until the first probe.
    Idle,
    /// The time between two probes.
    Interval,
}

pub(super) fn keep_alive_time(socket: &Request, time: KeepAliveTime) -> Outcome<u64> {
    let time = match time {
        KeepAliveTime::Idle => sockopt::tcp_keepidle(socket),
        KeepAliveTime::Interval => sockopt::tcp_keepintvl(socket),
    };
    Ok(u64::try_from(time?.as_nanos()).unwrap_or(u64::MAX))
}

/// Sets a time of keep-alive, in nanoseconds. The kernel counts seconds.
pub(super) fn set_keep_alive_time(
    socket: &Request,
    time: KeepAliveTime,
    nanos: u64,
) -> Outcome<()> {
    check_positive(nanos)?;
    let duration = Duration::from_nanos(nanos.clamp(NANOS, LONGEST * NANOS));
    let set = match time {
        KeepAliveTime::Idle => sockopt::set_tcp_keepidle(socket, duration),
        KeepAliveTime::Interval => sockopt::set_tcp_keepintvl(socket, duration),
    };
    Ok(set?)
}

pub(super) fn keep_alive_count(socket: &Request) -> Outcome<u32> {
    Ok(sockopt::tcp_keepcnt(socket)?)
}

pub(super) fn set_keep_alive_count(socket: &Request, count: u32) -> Outcome<()> {
    check_positive(count.into())?;
    let count = count.min(MOST_PROBES);
    Ok(sockopt::set_tcp_keepcnt(socket, count)?)
}

/// Fails with `invalid-argument` for 0, as the interface demands.
fn check_positive(value: u64) -> Outcome<()> {
    if value == 0 { Err(ErrorCode::InvalidArgument.into()) } else { Ok(()) }
}
