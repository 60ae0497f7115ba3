//! The broker: a process outside of the jail that opens sockets for handlers in it.
//!
//! A process in the jail may neither open sockets nor pass an address to the kernel. It asks the
//! broker over a connection, which stands for one request. The broker checks each call against
//! the grants and the budget of the request, makes the call, and passes the descriptor of a new
//! socket. The broker keeps a copy of the socket for later calls until the handler closes it, or
//! until the connection ends.
//!
//! | file | content | process |
//! |---|---|---|
//! | `message` | calls and answers | both |
//! | `wire` | messages with descriptors on a socket | both |
//! | `client` | the calls of one request | in the jail |
//! | `turns` | the turns of its calls | in the jail |
//! | `door` | the way to the broker, which forked processes inherit | in the jail |
//! | `serve` | the connections, each with a thread once it is used | the broker |
//! | `permits` | how many sockets and connections there may be | the broker |
//! | `session` | the calls of one connection: what is checked | the broker |
//!
//! A connection is known by its socket and by nothing that is written on it. A forked process
//! makes a pair of sockets before it enters the jail, and puts one end into the queue of the
//! door, which it then closes. For a process that serves one request the pair is its only
//! connection. A worker asks over it for a connection for each request.
//!
//! The broker sleeps until the bell rings, which is a pipe. A process for one request rings at
//! its first call, so that a request that opens no socket wakes no other process.
//!
//! No call waits in the broker for the sake of a process in the jail, except for a lookup, which
//! occupies only the thread of its own connection.

pub(crate) mod client;
mod door;
mod message;
mod permits;
mod serve;
mod session;
#[cfg(test)]
mod tests;
mod turns;
mod wire;

pub use door::{Broker, ProcessKind};
pub use serve::{BrokerLimits, serve_broker};
