//! Listening sockets: where a server listens, and how requests are taken from there.
//!
//! | file | contents |
//! |---|---|
//! | `endpoint` | [`Endpoint`](endpoint::Endpoint), an address to listen on, written as a URL |
//! | `options` | the options of one listening socket |
//! | `listener` | the socket that accepts connections or receives datagrams |
//! | `arrivals` | the times at which clients can have entered a queue |
//! | `unix_path`, `stale_socket` | the file of a Unix socket, and the removal of a stale file |
//! | `packet_info`, `own_addresses` | the destination of a datagram, and the server's own addresses |
//! | `descriptor_passing` | the descriptors that clients of Unix sockets pass |
//! | `bound_socket` | listening sockets that another process has bound |
//! | `sys` | calls on sockets that only the C library offers |
//! | `bind_hint` | advice about an address that cannot be bound |

pub(crate) mod arrivals;
pub(crate) mod bind_hint;
pub(crate) mod bound_socket;
pub(crate) mod descriptor_passing;
pub(crate) mod endpoint;
pub(crate) mod listener;
pub(crate) mod options;
pub(crate) mod own_addresses;
pub(crate) mod packet_info;
mod stale_socket;
pub(crate) mod sys;
pub(crate) mod unix_path;
