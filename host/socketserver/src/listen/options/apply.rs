//! Setting the options of a socket that is not bound yet.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use nix::net::if_::if_nametoindex;
use rustix::net::sockopt;
use socket2::{InterfaceIndexOrAddress, Socket, TcpKeepalive};

use super::value::{show_group, show_size};
use super::{Group, KeepAlive};
use crate::address::Address;
use crate::listen::endpoint::Endpoint;
use crate::listen::sys;

/// The bit of `net.ipv4.tcp_fastopen` for servers.
const SERVER_FAST_OPEN: u32 = 2;

/// Sets the options of `endpoint` that the server has no setting for, except its groups.
///
/// # Errors
///
/// The kernel refuses an option, or gives less; the error names the option.
pub(crate) fn set_before_bind(socket: &Socket, endpoint: &Endpoint) -> io::Result<()> {
    let options = endpoint.options();
    if let Some(bytes) = options.receive_buffer {
        set_buffer(socket, bytes, &RECEIVE).map_err(name_option("rcvbuf", &show_size(bytes)))?;
    }
    if let Some(bytes) = options.send_buffer {
        set_buffer(socket, bytes, &SEND).map_err(name_option("sndbuf", &show_size(bytes)))?;
    }
    if let Some(only) = options.only_v6 {
        socket.set_only_v6(only).map_err(name_option("v6only", &only))?;
    }
    if let Some(device) = &options.device {
        socket.bind_device(Some(device.as_bytes())).map_err(name_option("device", device))?;
    }
    if let Some(nodelay) = options.nodelay {
        socket.set_tcp_nodelay(nodelay).map_err(name_option("nodelay", &nodelay))?;
    }
    if let Some(keep_alive) = options.keep_alive {
        let value = super::value::show_keep_alive(keep_alive);
        set_keep_alive(socket, keep_alive).map_err(name_option("keepalive", &value))?;
    }
    if let Some(longest) = options.defer_accept {
        let seconds = i32::try_from(longest.as_secs()).unwrap_or(i32::MAX);
        sys::set_tcp_option(socket.as_fd(), libc::TCP_DEFER_ACCEPT, seconds)
            .map_err(name_option("defer-accept", &super::value::show_seconds(longest)))?;
    }
    if let Some(connections) = options.fast_open {
        set_fast_open(socket, connections).map_err(name_option("fastopen", &connections))?;
    }
    Ok(())
}

/// Joins the multicast groups of `endpoint`, and its address if that is a group.
///
/// # Errors
///
/// The kernel refuses a group, or has no route to it; the error names the group.
pub(crate) fn join_groups(socket: &Socket, endpoint: &Endpoint) -> io::Result<()> {
    let options = endpoint.options();
    let mut groups = options.groups.clone();
    let bound = endpoint.address().to_socket_addr().map(|address| address.ip());
    if let Some(address) = bound.filter(IpAddr::is_multicast)
        && !groups.iter().any(|group| group.address == address)
    {
        groups.push(Group { address, interface: None });
    }
    if groups.is_empty() {
        return Ok(());
    }
    // By default a socket receives from all groups that any socket of the machine has
    // joined.
    match endpoint.address() {
        Address::Inet(_) => socket.set_multicast_all_v4(false)?,
        _ => socket.set_multicast_all_v6(false)?,
    }
    for group in &groups {
        let zone = match endpoint.address() {
            Address::Inet6(address) => address.scope_id(),
            _ => 0,
        };
        let joined = match group.interface.as_ref().or(options.device.as_ref()) {
            Some(interface) => if_nametoindex(interface.as_str()).map_err(io::Error::from),
            None => Ok(zone),
        };
        joined.and_then(|interface| join(socket, group.address, interface)).map_err(|error| {
            let hint = if group.interface.is_none() && options.device.is_none() {
                format!(": name an interface, group={}%eth0", group.address)
            } else {
                String::new()
            };
            io::Error::new(error.kind(), format!("`group={}`: {error}{hint}", show_group(group)))
        })?;
    }
    Ok(())
}

fn join(socket: &Socket, group: IpAddr, interface: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
        }
        IpAddr::V6(group) => socket.join_multicast_v6(&group, interface),
    }
}

/// One of the two buffers of a socket, with the calls that set it.
struct Buffer {
    set: fn(&Socket, usize) -> io::Result<()>,
    force: fn(&Socket, usize) -> rustix::io::Result<()>,
    get: fn(&Socket) -> io::Result<usize>,
    /// The setting of the kernel that limits it.
    limit: &'static str,
}

const RECEIVE: Buffer = Buffer {
    set: Socket::set_recv_buffer_size,
    force: |socket, size| sockopt::set_socket_recv_buffer_size_force(socket, size),
    get: Socket::recv_buffer_size,
    limit: "net.core.rmem_max",
};
const SEND: Buffer = Buffer {
    set: Socket::set_send_buffer_size,
    force: |socket, size| sockopt::set_socket_send_buffer_size_force(socket, size),
    get: Socket::send_buffer_size,
    limit: "net.core.wmem_max",
};

/// Sets the size of a buffer, and checks it: the kernel reports no error if it gives less.
fn set_buffer(socket: &Socket, bytes: u64, buffer: &Buffer) -> io::Result<()> {
    let size = usize::try_from(bytes).unwrap_or(usize::MAX);
    (buffer.set)(socket, size)?;
    // The kernel doubles the number, for its own overhead.
    let given = (buffer.get)(socket)? / 2;
    if given >= size || (buffer.force)(socket, size).is_ok() {
        return Ok(());
    }
    let limit = buffer.limit;
    let given = show_size(given as u64);
    Err(io::Error::other(format!(
        "the kernel gives at most {given}: raise {limit}, start with CAP_NET_ADMIN, or ask for less"
    )))
}

fn set_keep_alive(socket: &Socket, keep_alive: KeepAlive) -> io::Result<()> {
    let KeepAlive::After { idle, interval, count } = keep_alive else {
        return socket.set_keepalive(keep_alive == KeepAlive::On);
    };
    let mut times = TcpKeepalive::new().with_time(idle);
    if let Some(interval) = interval {
        times = times.with_interval(interval);
    }
    if let Some(count) = count {
        times = times.with_retries(count);
    }
    socket.set_tcp_keepalive(&times)
}

fn set_fast_open(socket: &Socket, connections: u32) -> io::Result<()> {
    let setting = fs::read_to_string("/proc/sys/net/ipv4/tcp_fastopen").unwrap_or_default();
    let setting: Option<u32> = setting.trim().parse().ok();
    if setting.is_some_and(|setting| setting & SERVER_FAST_OPEN == 0) {
        return Err(io::Error::other(
            "the system does not allow it for servers: set net.ipv4.tcp_fastopen to 3",
        ));
    }
    let connections = i32::try_from(connections).unwrap_or(i32::MAX);
    sys::set_tcp_option(socket.as_fd(), libc::TCP_FASTOPEN, connections)
}

/// Returns a function that adds the option to an error.
fn name_option(name: &str, value: &dyn ToString) -> impl FnOnce(io::Error) -> io::Error {
    let option = format!("`{name}={}`", value.to_string());
    move |error| io::Error::new(error.kind(), format!("{option}: {error}"))
}
