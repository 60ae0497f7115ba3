//! The socket options that handlers may read or set, by the numbers of Python's
//! constants on Linux.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result};
use rustix::net::sockopt;

/// A socket option.
enum Opt {
    Type,
    Error,
    SndBuf,
    RcvBuf,
    KeepAlive,
    NoDelay,
}

impl Opt {
    /// Returns the option with these numbers, or `ENOPROTOOPT`.
    fn from_numbers(level: i32, optname: i32) -> Result<Opt> {
        const SOL_SOCKET: i32 = 1;
        const IPPROTO_TCP: i32 = 6;
        match (level, optname) {
            (SOL_SOCKET, 3) => Ok(Opt::Type),
            (SOL_SOCKET, 4) => Ok(Opt::Error),
            (SOL_SOCKET, 7) => Ok(Opt::SndBuf),
            (SOL_SOCKET, 8) => Ok(Opt::RcvBuf),
            (SOL_SOCKET, 9) => Ok(Opt::KeepAlive),
            (IPPROTO_TCP, 1) => Ok(Opt::NoDelay),
            _ => Err(Errno::NOPROTOOPT),
        }
    }
}

pub(crate) fn get(socket: BorrowedFd<'_>, level: i32, optname: i32) -> Result<i32> {
    let size = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    match Opt::from_numbers(level, optname)? {
        Opt::Type => Ok(sockopt::socket_type(socket)?.as_raw().cast_signed()),
        Opt::Error => Ok(sockopt::socket_error(socket)?.err().map_or(0, Errno::raw_os_error)),
        Opt::SndBuf => sockopt::socket_send_buffer_size(socket).map(size),
        Opt::RcvBuf => sockopt::socket_recv_buffer_size(socket).map(size),
        Opt::KeepAlive => sockopt::socket_keepalive(socket).map(i32::from),
        Opt::NoDelay => sockopt::tcp_nodelay(socket).map(i32::from),
    }
}

pub(crate) fn set(socket: BorrowedFd<'_>, level: i32, optname: i32, value: i32) -> Result<()> {
    match Opt::from_numbers(level, optname)? {
        Opt::KeepAlive => sockopt::set_socket_keepalive(socket, value != 0),
        Opt::NoDelay => sockopt::set_tcp_nodelay(socket, value != 0),
        // A handler must not choose how much kernel memory its socket takes.
        Opt::Type | Opt::Error | Opt::SndBuf | Opt::RcvBuf => Err(Errno::ACCESS),
    }
}
