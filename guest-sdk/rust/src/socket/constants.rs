//! Python's constants, with the numbers of Linux.

/// A connection: `SocketKind::Stream`. TCP, or a stream of a Unix socket.
pub const SOCK_STREAM: i32 = 1;
/// Datagrams: `SocketKind::Dgram`. UDP, or datagrams of a Unix socket.
pub const SOCK_DGRAM: i32 = 2;
/// Raw access to the network protocol: `SocketKind::Raw`.
pub const SOCK_RAW: i32 = 3;
/// Reliable datagrams in any order: `SocketKind::Rdm`.
pub const SOCK_RDM: i32 = 4;
/// A connection that keeps message boundaries: `SocketKind::Seqpacket`.
pub const SOCK_SEQPACKET: i32 = 5;

/// Unix sockets: `AddressFamily::Unix`.
pub const AF_UNIX: i32 = 1;
/// IPv4: `AddressFamily::Inet`.
pub const AF_INET: i32 = 2;
/// IPv6: `AddressFamily::Inet6`.
pub const AF_INET6: i32 = 10;

/// Receives data without taking it out of the socket.
pub const MSG_PEEK: i32 = 0x2;
/// Returns [`Error::WouldBlock`](crate::Error::WouldBlock) instead of waiting, unless the
/// socket has a timeout.
pub const MSG_DONTWAIT: i32 = 0x40;
/// Waits until all bytes are there, unless the socket has a timeout.
pub const MSG_WAITALL: i32 = 0x100;
/// No effect: no call raises a signal.
pub const MSG_NOSIGNAL: i32 = 0x4000;
/// More data follows, so TCP may wait to fill a segment.
pub const MSG_MORE: i32 = 0x8000;

/// The level of the options of every socket.
pub const SOL_SOCKET: i32 = 1;
/// Set if the address may be bound again at once. To be set before `bind` on a stream that the
/// handler opened; read only on other sockets.
pub const SO_REUSEADDR: i32 = 2;
/// The type of the socket: 1 for a stream, 2 for datagrams. Read only.
pub const SO_TYPE: i32 = 3;
/// The pending error of the socket as an `errno`, or 0. Reading the option clears the
/// error. Read only.
pub const SO_ERROR: i32 = 4;
/// Set if datagrams may be sent to a broadcast address. Read only.
pub const SO_BROADCAST: i32 = 6;
/// The size of the send buffer, in bytes. Linux returns twice the size that was set. The
/// host lowers it to 212,992.
pub const SO_SNDBUF: i32 = 7;
/// The size of the receive buffer, in bytes. Linux returns twice the size that was set. The
/// host lowers it to 212,992.
pub const SO_RCVBUF: i32 = 8;
/// Keepalive probes to a client that sends nothing: 0 for off, 1 for on.
pub const SO_KEEPALIVE: i32 = 9;
/// The behaviour of a close with unsent data: two numbers, on or off and seconds. With 0
/// seconds the connection ends with a reset; with more, the close does not wait.
pub const SO_LINGER: i32 = 13;
/// Set if several sockets share the port. Read only.
pub const SO_REUSEPORT: i32 = 15;
/// Set for a socket that accepts connections. Read only.
pub const SO_ACCEPTCONN: i32 = 30;
/// The protocol, such as 6 for TCP. Read only.
pub const SO_PROTOCOL: i32 = 38;
/// The address family, such as [`AF_INET`]. Read only.
pub const SO_DOMAIN: i32 = 39;

/// The level of the options of IPv4.
pub const IPPROTO_IP: i32 = 0;
/// The class of traffic in the header of IPv4, 0 to 255.
pub const IP_TOS: i32 = 1;
/// The hops that a packet of IPv4 may take. Read only.
pub const IP_TTL: i32 = 2;

/// The level of the options of TCP.
pub const IPPROTO_TCP: i32 = 6;
/// Sends small segments at once, without Nagle's algorithm, which waits until earlier
/// segments are acknowledged: 0 for off, any other number for on.
pub const TCP_NODELAY: i32 = 1;
/// The largest segment, in bytes. Read only.
pub const TCP_MAXSEG: i32 = 2;
/// Holds partial segments back until it is set to 0, for at most 200 ms.
pub const TCP_CORK: i32 = 3;
/// The seconds without data before the first keepalive probe, 1 to 32,767.
pub const TCP_KEEPIDLE: i32 = 4;
/// The seconds between two keepalive probes, 1 to 32,767.
pub const TCP_KEEPINTVL: i32 = 5;
/// The keepalive probes without an answer that end the connection, 1 to 127.
pub const TCP_KEEPCNT: i32 = 6;
/// The state of the connection: `struct tcp_info`, as bytes. Read only.
pub const TCP_INFO: i32 = 11;
/// Acknowledges data at once: 0 for off, any other number for on.
pub const TCP_QUICKACK: i32 = 12;
/// The milliseconds for which data may be unacknowledged, or 0. Read only.
pub const TCP_USER_TIMEOUT: i32 = 18;

/// The level of the options of IPv6.
pub const IPPROTO_IPV6: i32 = 41;
/// Set for a socket that takes IPv6 only. Read only.
pub const IPV6_V6ONLY: i32 = 26;
/// The class of traffic in the header of IPv6, 0 to 255, or -1 for the default.
pub const IPV6_TCLASS: i32 = 67;
