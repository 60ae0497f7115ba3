//! What would let an address be bound that cannot be.

use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::address::{Address, UnixAddress};
use crate::endpoint::Endpoint;
use crate::stale_socket;

/// Why an address cannot be bound, where the kernel's error does not tell and there is
/// a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BindHint {
    /// The address is in use by a file that a closed socket has left behind.
    /// [`ServerBuilder::remove_stale_socket`](crate::ServerBuilder::remove_stale_socket)
    /// removes it.
    StaleSocket,
}

impl BindHint {
    /// What there is to say about that failure to bind `endpoint`.
    pub(crate) fn find(endpoint: &Endpoint, error: &io::Error) -> Option<Self> {
        if Errno::from_io_error(error) != Some(Errno::ADDRINUSE) {
            return None;
        }
        match endpoint.address() {
            Address::Unix(UnixAddress::Pathname(path)) => {
                stale_socket::is_stale(path).then_some(BindHint::StaleSocket)
            }
            _ => None,
        }
    }
}

/// What is wrong, without the way out.
impl fmt::Display for BindHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BindHint::StaleSocket => "no server has that file open any more",
        })
    }
}
