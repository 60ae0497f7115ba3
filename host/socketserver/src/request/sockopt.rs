//! The socket options that handlers may read or set, by the numbers of Python's constants
//! on Linux.

use std::io::Result;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::listen::sys;

/// The rights of a handler to an option.
#[derive(Clone, Copy)]
enum Access {
    /// Read it.
    Read,
    /// Set it to a number too, in this range. The kernel takes any number but 0 for 1 if
    /// the option is a switch.
    Set(i32, i32),
    /// Set the size of a buffer, of at most [`MAX_BUFFER`] bytes.
    Buffer,
    /// Set `SO_LINGER`.
    Linger,
    /// Set it as a switch, before `bind`, on a stream that the handler has opened. Two sockets
    /// of datagrams with it could have the same address, and one would take the datagrams of
    /// the other.
    OwnStream,
}

use Access::{Buffer, Read, Set};

const SWITCH: Access = Set(i32::MIN, i32::MAX);

/// The largest buffer that a handler can ask for, in bytes. It is the kernel's own default
/// limit (`net.core.rmem_max`), and less than what TCP gives a busy connection by itself.
const MAX_BUFFER: u32 = 212_992;

const SOL_SOCKET: i32 = 1;
const IPPROTO_IP: i32 = 0;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_IPV6: i32 = 41;
const SO_LINGER: i32 = 13;

/// The options: level, number, and what a handler may do.
#[rustfmt::skip]
const OPTIONS: &[(i32, i32, Access)] = &[
    (SOL_SOCKET, 2, Access::OwnStream), // SO_REUSEADDR
    (SOL_SOCKET, 3, Read), // SO_TYPE
    (SOL_SOCKET, 4, Read), // SO_ERROR
    (SOL_SOCKET, 6, Read), // SO_BROADCAST
    (SOL_SOCKET, 7, Buffer), // SO_SNDBUF
    (SOL_SOCKET, 8, Buffer), // SO_RCVBUF
    (SOL_SOCKET, 9, SWITCH), // SO_KEEPALIVE
    (SOL_SOCKET, SO_LINGER, Access::Linger), // SO_LINGER
    (SOL_SOCKET, 15, Read), // SO_REUSEPORT
    (SOL_SOCKET, 30, Read), // SO_ACCEPTCONN
    (SOL_SOCKET, 38, Read), // SO_PROTOCOL
    (SOL_SOCKET, 39, Read), // SO_DOMAIN
    (IPPROTO_IP, 1, Set(0, 255)), // IP_TOS
    (IPPROTO_IP, 2, Read), // IP_TTL
    (IPPROTO_TCP, 1, SWITCH), // TCP_NODELAY
    (IPPROTO_TCP, 2, Read), // TCP_MAXSEG
    (IPPROTO_TCP, 3, SWITCH), // TCP_CORK
    (IPPROTO_TCP, 4, Set(1, 32_767)), // TCP_KEEPIDLE
    (IPPROTO_TCP, 5, Set(1, 32_767)), // TCP_KEEPINTVL
    (IPPROTO_TCP, 6, Set(1, 127)), // TCP_KEEPCNT
    (IPPROTO_TCP, 11, Read), // TCP_INFO
    (IPPROTO_TCP, 12, SWITCH), // TCP_QUICKACK
    (IPPROTO_TCP, 18, Read), // TCP_USER_TIMEOUT
    (IPPROTO_IPV6, 26, Read), // IPV6_V6ONLY
    (IPPROTO_IPV6, 67, Set(-1, 255)), // IPV6_TCLASS
];

/// The options that the host sets on sockets of handlers by itself: `SO_REUSEADDR`, `IP_TTL`,
/// `IPV6_UNICAST_HOPS`, `IPV6_V6ONLY`.
const OF_THE_HOST: &[(i32, i32)] =
    &[(SOL_SOCKET, 2), (IPPROTO_IP, 2), (IPPROTO_IPV6, 16), (IPPROTO_IPV6, 26)];

/// The options that a process sets on sockets of handlers, as pairs of level and number. The
/// kernel may refuse it all others.
pub static SETTABLE_OPTIONS: &[(i32, i32)] = &settable::<{ count_settable() }>();

const fn count_settable() -> usize {
    let (mut row, mut count) = (0, OF_THE_HOST.len());
    while row < OPTIONS.len() {
        if !matches!(OPTIONS[row].2, Read) {
            count += 1;
        }
        row += 1;
    }
    count
}

const fn settable<const COUNT: usize>() -> [(i32, i32); COUNT] {
    let (mut row, mut next, mut options) = (0, 0, [(0, 0); COUNT]);
    while next < OF_THE_HOST.len() {
        options[next] = OF_THE_HOST[next];
        next += 1;
    }
    while row < OPTIONS.len() {
        if !matches!(OPTIONS[row].2, Read) {
            options[next] = (OPTIONS[row].0, OPTIONS[row].1);
            next += 1;
        }
        row += 1;
    }
    options
}

/// The value of `SO_LINGER` of one socket: `struct linger`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Linger {
    pub on: i32,
    pub seconds: i32,
}

/// Returns what a handler may do with an option, or `EACCES`.
fn access(level: i32, optname: i32) -> Result<Access> {
    let row = OPTIONS.iter().find(|row| (row.0, row.1) == (level, optname));
    row.map(|row| row.2).ok_or_else(|| Errno::ACCESS.into())
}

/// Returns true for `SO_LINGER`.
pub(super) fn is_linger(level: i32, optname: i32) -> bool {
    (level, optname) == (SOL_SOCKET, SO_LINGER)
}

/// Reads an option into `value`, and returns the number of bytes.
pub(super) fn get(
    socket: BorrowedFd<'_>,
    level: i32,
    optname: i32,
    value: &mut [u8],
) -> Result<usize> {
    access(level, optname)?;
    sys::socket_option(socket, level, optname, value)
}

/// Sets an option of which the kernel keeps the value. `is_own_stream` is set for a stream that
/// the handler has opened.
pub(super) fn set(
    socket: BorrowedFd<'_>,
    is_own_stream: bool,
    level: i32,
    optname: i32,
    value: &[u8],
) -> Result<()> {
    let number = number(value);
    let number = match access(level, optname)? {
        Access::OwnStream if is_own_stream => number,
        Read | Access::Linger | Access::OwnStream => return Err(Errno::ACCESS.into()),
        Set(least, most) => number.filter(|number| (least..=most).contains(number)),
        // As the kernel, which lowers what is too large, and takes the number as unsigned.
        Buffer => number.map(|number| number.cast_unsigned().min(MAX_BUFFER).cast_signed()),
    };
    let number = number.ok_or(Errno::INVAL)?;
    sys::set_socket_option(socket, level, optname, &number.to_ne_bytes())
}

/// Returns the two numbers of `SO_LINGER`.
pub(super) fn linger(value: &[u8]) -> Result<Linger> {
    let (on, seconds) = (number(value), value.get(4..).and_then(number));
    on.zip(seconds).map(|(on, seconds)| Linger { on, seconds }).ok_or_else(|| Errno::INVAL.into())
}

/// Returns the `int` at the beginning of the bytes.
fn number(value: &[u8]) -> Option<i32> {
    value.first_chunk().copied().map(i32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_that_may_be_set_are_those_of_the_table() {
        assert!(SETTABLE_OPTIONS.contains(&(SOL_SOCKET, SO_LINGER)));
        assert!(SETTABLE_OPTIONS.contains(&(IPPROTO_TCP, 1)));
        assert!(!SETTABLE_OPTIONS.contains(&(SOL_SOCKET, 3)));
        assert!(!SETTABLE_OPTIONS.contains(&(0, 0)));
    }

    #[test]
    fn each_option_has_one_row() {
        for (index, row) in OPTIONS.iter().enumerate() {
            for other in &OPTIONS[..index] {
                assert_ne!((row.0, row.1), (other.0, other.1));
            }
        }
    }
}
