//! Calls on a socket of a handler that another process makes.

use std::fmt::Debug;
use std::io;

use crate::address::Address;

/// The calls on one socket of a handler that pass an address, or that let others connect. A
/// process in a jail may not make them: another process, which has the same socket, makes them
/// for it.
///
/// No call waits for anything but that process. Dropping the value closes the socket there.
pub trait AddressCalls: Debug + Send + Sync {
    /// Gives the socket a local address.
    ///
    /// # Errors
    ///
    /// The errors of `bind(2)`.
    fn bind(&self, address: &Address) -> io::Result<()>;

    /// Lets others connect to the socket.
    ///
    /// # Errors
    ///
    /// The errors of `listen(2)`.
    fn listen(&self, backlog: i32) -> io::Result<()>;

    /// Connects the socket, or returns the outcome of the attempt that has begun.
    ///
    /// # Errors
    ///
    /// The errors of `connect(2)` on a socket that does not block, such as `EINPROGRESS`.
    fn connect(&self, address: &Address) -> io::Result<()>;

    /// Dissolves the connection of a datagram socket.
    ///
    /// # Errors
    ///
    /// The errors of `connect(2)`.
    fn disconnect(&self) -> io::Result<()>;

    /// Sends a datagram to `address`.
    ///
    /// # Errors
    ///
    /// The errors of `sendto(2)` on a socket that does not block, such as `EAGAIN`.
    fn send_to(&self, data: &[u8], address: &Address) -> io::Result<usize>;
}
