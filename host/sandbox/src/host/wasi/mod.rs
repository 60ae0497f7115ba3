//! The part of WASI 0.2 that handlers get: one file for each interface or package.
//!
//! It shows handlers nothing of the host but time and random numbers, unless the operator
//! grants more: see [`Grants`]. The standard output and error of a guest go to the log.

mod clocks;
mod environment;
mod exit;
mod filesystem;
mod poll;
mod random;
mod sockets;
mod stdio;
mod streams;
mod terminal;

pub(crate) use exit::Exit;

use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::Linker;

use crate::host::grants::Grants;
use crate::host::state::State;

/// Defines one interface.
type Add = fn(&mut Linker<State>, &Arc<Grants>) -> Result<()>;

/// The interfaces, with their stable functions. The versions 0.2.x are compatible.
pub(crate) const INTERFACES: [(&str, Add); 27] = [
    ("wasi:cli/environment@0.2.0", environment::add_to_linker),
    (exit::NAME, exit::add_to_linker),
    ("wasi:cli/stdin@0.2.0", stdio::add_stdin),
    ("wasi:cli/stdout@0.2.0", stdio::add_stdout),
    ("wasi:cli/stderr@0.2.0", stdio::add_stderr),
    ("wasi:cli/terminal-input@0.2.0", terminal::add_input),
    ("wasi:cli/terminal-output@0.2.0", terminal::add_output),
    ("wasi:cli/terminal-stdin@0.2.0", terminal::add_stdin),
    ("wasi:cli/terminal-stdout@0.2.0", terminal::add_stdout),
    ("wasi:cli/terminal-stderr@0.2.0", terminal::add_stderr),
    ("wasi:io/error@0.2.0", streams::add_error),
    (poll::NAME, poll::add_to_linker),
    ("wasi:io/streams@0.2.0", streams::add_to_linker),
    ("wasi:clocks/monotonic-clock@0.2.0", clocks::add_monotonic),
    ("wasi:clocks/wall-clock@0.2.0", clocks::add_wall),
    ("wasi:random/random@0.2.0", random::add_random),
    ("wasi:random/insecure@0.2.0", random::add_insecure),
    ("wasi:random/insecure-seed@0.2.0", random::add_insecure_seed),
    ("wasi:filesystem/types@0.2.0", filesystem::add_types),
    ("wasi:filesystem/preopens@0.2.0", filesystem::add_preopens),
    ("wasi:sockets/network@0.2.0", sockets::add_network),
    ("wasi:sockets/instance-network@0.2.0", sockets::add_instance_network),
    ("wasi:sockets/tcp@0.2.0", sockets::add_tcp),
    ("wasi:sockets/tcp-create-socket@0.2.0", sockets::add_tcp_create_socket),
    ("wasi:sockets/udp@0.2.0", sockets::add_udp),
    ("wasi:sockets/udp-create-socket@0.2.0", sockets::add_udp_create_socket),
    ("wasi:sockets/ip-name-lookup@0.2.0", sockets::add_ip_name_lookup),
];

/// The interface that a guest imports if it waits for time to pass.
pub(crate) const POLL: &str = poll::NAME;
