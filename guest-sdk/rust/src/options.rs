//! Options of sockets for [`Socket::getsockopt`](crate::Socket::getsockopt) and
//! [`setsockopt`](crate::Socket::setsockopt), by Python's names and with the
//! numbers of Linux.
//!
//! The host decides which of them a handler may read or set.

/// The level of the options of every socket: all here but [`TCP_NODELAY`].
pub const SOL_SOCKET: i32 = 1;

/// The type of the socket: 1 for a stream, 2 for datagrams. Read only.
pub const SO_TYPE: i32 = 3;

/// The error that is pending on the socket, as an `errno`; 0 for none. Reading
/// it clears it. Read only.
pub const SO_ERROR: i32 = 4;

/// The size of the buffer for sending, in bytes. Linux shows twice what was
/// set.
pub const SO_SNDBUF: i32 = 7;

/// The size of the buffer for receiving, in bytes. Linux shows twice what was
/// set.
pub const SO_RCVBUF: i32 = 8;

/// Whether the kernel asks a silent client from time to time if it is still
/// there: 0 or 1.
pub const SO_KEEPALIVE: i32 = 9;

/// The level of the options of TCP.
pub const IPPROTO_TCP: i32 = 6;

/// Whether small pieces of data leave at once instead of waiting for the last
/// ones to be acknowledged (Nagle's algorithm): 0, or another number for yes.
pub const TCP_NODELAY: i32 = 1;
