//! Socket options for [`Socket::getsockopt`](crate::Socket::getsockopt) and
//! [`setsockopt`](crate::Socket::setsockopt), with Python's names and the numbers of
//! Linux.
//!
//! The host decides which options a handler may read or set.

/// The level of the options of every socket: all options here except [`TCP_NODELAY`].
pub const SOL_SOCKET: i32 = 1;

/// The type of the socket: 1 for a stream, 2 for datagrams. Read only.
pub const SO_TYPE: i32 = 3;

/// The pending error of the socket as an `errno`, or 0. Reading the option clears the
/// error. Read only.
pub const SO_ERROR: i32 = 4;

/// The size of the send buffer, in bytes. Linux returns twice the size that was set.
pub const SO_SNDBUF: i32 = 7;

/// The size of the receive buffer, in bytes. Linux returns twice the size that was set.
pub const SO_RCVBUF: i32 = 8;

/// Keepalive probes to a client that sends nothing: 0 for off, 1 for on.
pub const SO_KEEPALIVE: i32 = 9;

/// The level of the options of TCP.
pub const IPPROTO_TCP: i32 = 6;

/// Sends small segments at once, without Nagle's algorithm, which waits until earlier
/// segments are acknowledged: 0 for off, any other number for on.
pub const TCP_NODELAY: i32 = 1;
