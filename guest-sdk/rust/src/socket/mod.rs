//! Sockets, with the names of Python's module `socket` and types as those of [`std::net`].
//!
//! | Python | here |
//! |---|---|
//! | `socket.socket`, the class | [`Socket`] |
//! | `recv`, `recvfrom`, `recv_into` | [`recv`](Socket::recv), [`recv_with_flags`](Socket::recv_with_flags), [`recvfrom`](Socket::recvfrom), [`recv_into`](Socket::recv_into), and [`std::io::Read`] |
//! | `send`, `sendall`, `sendto` | [`send`](Socket::send), [`sendall`](Socket::sendall), [`sendto`](Socket::sendto), each with a form `_with_flags`, and [`std::io::Write`] |
//! | `sendfile` | [`sendfile`](Socket::sendfile), of a [`File`] |
//! | `ssl.SSLSocket`: `version`, `cipher`, `selected_alpn_protocol`, `getpeercert` | [`version`](Socket::version), [`cipher`](Socket::cipher), [`selected_alpn_protocol`](Socket::selected_alpn_protocol), [`getpeercert`](Socket::getpeercert), and [`server_hostname`](Socket::server_hostname) |
//! | `makefile` | [`makefile`](Socket::makefile) |
//! | `settimeout`, `gettimeout`, `setblocking`, `getblocking` | [`settimeout`](Socket::settimeout), [`gettimeout`](Socket::gettimeout), [`setblocking`](Socket::setblocking), [`getblocking`](Socket::getblocking) |
//! | `getsockopt`, `setsockopt` | [`getsockopt`](Socket::getsockopt), [`setsockopt`](Socket::setsockopt), each with a form `_bytes` |
//! | `getpeername`, `getsockname`, `fileno` | [`getpeername`](Socket::getpeername), [`getsockname`](Socket::getsockname), [`fileno`](Socket::fileno) |
//! | `shutdown`, `close` | [`shutdown`](Socket::shutdown), [`close`](Socket::close) |
//! | `family`, `type`, `proto` | [`family`](Socket::family), [`socket_type`](Socket::socket_type), [`proto`](Socket::proto) |
//! | `SHUT_RD`, `SHUT_WR`, `SHUT_RDWR` | [`Shutdown`] |
//! | `AF_*`, `SOCK_*`, `MSG_*`, `SOL_*`, `SO_*`, `IPPROTO_*`, `TCP_*`, `IP_*` | constants of the same names |
//! | `OSError`, `TimeoutError`, `BlockingIOError`, ... | [`Error`], which converts to [`std::io::Error`] |
//! | an address: a tuple or a `str` | [`Address`], which converts from and to [`std::net::SocketAddr`] |
//!
//! Rust closes nothing when a [`Socket`] is dropped: the host closes the connection after
//! `finish`. So there is no equivalent of `with socket:` here.

mod constants;
mod file;
mod handle;
mod sendfile;
mod tls;

#[allow(clippy::wildcard_imports, reason = "each constant of Python is one of this module")]
pub use constants::*;
pub use file::SocketFile;
pub(crate) use handle::duration;
pub use handle::{Shutdown, Socket};
pub use sendfile::{File, Metadata};
pub use tls::Cipher;

pub use crate::address::{Address, UnixAddress};
pub use crate::error::Error;
pub use crate::server::{AddressFamily, SocketKind};
