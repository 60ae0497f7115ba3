//! The host's side of the contract: one file for each WIT interface.

mod address;
mod errno;
mod log;
mod lookup;
mod network;
mod sendfile;
mod server;
mod sockets;
mod tls;

use wasmtime::Result;
use wasmtime::component::Linker;

use crate::host::state::State;
use crate::host::waits::Waits;

/// Defines one interface.
type Add = fn(&mut Linker<State>, Waits) -> Result<()>;

/// The interfaces of the contract, each with the function that defines it. `types` has no
/// functions.
pub(crate) const INTERFACES: [(&str, Add); 7] = [
    (TYPES, |linker, _| linker.instance(TYPES).map(drop)),
    (sockets::NAME, sockets::add_to_linker),
    (network::NAME, network::add_to_linker),
    (server::NAME, |linker, _| server::add_to_linker(linker)),
    (log::NAME, |linker, _| log::add_to_linker(linker)),
    (sendfile::NAME, sendfile::add_to_linker),
    (tls::NAME, |linker, _| tls::add_to_linker(linker)),
];

/// The interface that a guest imports if it opens sockets.
pub(crate) const NETWORK: &str = network::NAME;

const TYPES: &str = "socketserver:handler/types@0.1.0";
