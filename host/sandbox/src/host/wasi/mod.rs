//! The part of WASI 0.2 that handlers get. `wasmtime-wasi` has it; a file here has what is
//! done in another way, and says why. No thread and no runtime of Tokio is used.
//!
//! It shows handlers nothing of the host but time and random numbers, unless the operator
//! grants more: see [`Grants`]. The standard streams of a guest are its client and the log.

mod clocks;
mod command_line;
mod context;
mod files;
mod filesystem;
mod poll;
mod sockets;
mod stdio;
mod streams;

pub(crate) use context::Context;
pub(crate) use filesystem::Descriptor;
pub(crate) use stdio::{Stdio, Unsent};

use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::cli::{WasiCli, WasiCliCtxView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksCtxView};
use wasmtime_wasi::p2::bindings::{cli, clocks as stock_clocks, random};
use wasmtime_wasi::random::{WasiRandom, WasiRandomCtx};

use crate::host::grants::Grants;
use crate::host::state::State;
use crate::host::version::is_compatible;
use crate::host::waits::Waits;

/// Defines one interface.
type Add = fn(&mut Linker<State>, &Arc<Grants>, Waits) -> Result<()>;

/// The interfaces, with their stable functions. The versions 0.2.x are compatible.
pub(crate) const INTERFACES: [(&str, Add); 27] = [
    ("wasi:cli/environment@0.2.0", |linker, grants, _| {
        command_line::add_environment(linker, grants)
    }),
    ("wasi:cli/exit@0.2.0", |linker, grants, _| command_line::add_exit(linker, grants)),
    ("wasi:cli/stdin@0.2.0", |linker, grants, _| stdio::add_stdin(linker, grants)),
    ("wasi:cli/stdout@0.2.0", |linker, grants, _| stdio::add_stdout(linker, grants)),
    ("wasi:cli/stderr@0.2.0", |linker, grants, _| stdio::add_stderr(linker, grants)),
    ("wasi:cli/terminal-input@0.2.0", |linker, _, _| {
        cli::terminal_input::add_to_linker::<State, WasiCli>(linker, cli_context)
    }),
    ("wasi:cli/terminal-output@0.2.0", |linker, _, _| {
        cli::terminal_output::add_to_linker::<State, WasiCli>(linker, cli_context)
    }),
    ("wasi:cli/terminal-stdin@0.2.0", |linker, _, _| {
        cli::terminal_stdin::add_to_linker::<State, WasiCli>(linker, cli_context)
    }),
    ("wasi:cli/terminal-stdout@0.2.0", |linker, _, _| {
        cli::terminal_stdout::add_to_linker::<State, WasiCli>(linker, cli_context)
    }),
    ("wasi:cli/terminal-stderr@0.2.0", |linker, _, _| {
        cli::terminal_stderr::add_to_linker::<State, WasiCli>(linker, cli_context)
    }),
    ("wasi:io/error@0.2.0", |linker, grants, _| streams::add_error(linker, grants)),
    (POLL, poll::add_to_linker),
    ("wasi:io/streams@0.2.0", streams::add_to_linker),
    ("wasi:clocks/monotonic-clock@0.2.0", |linker, grants, _| {
        clocks::add_monotonic(linker, grants)
    }),
    ("wasi:clocks/wall-clock@0.2.0", |linker, _, _| {
        stock_clocks::wall_clock::add_to_linker::<State, WasiClocks>(linker, clocks_context)
    }),
    (RANDOM[0], |linker, _, _| {
        random::random::add_to_linker::<State, WasiRandom>(linker, random_context)
    }),
    (RANDOM[1], |linker, _, _| {
        random::insecure::add_to_linker::<State, WasiRandom>(linker, random_context)
    }),
    (RANDOM[2], |linker, _, _| {
        random::insecure_seed::add_to_linker::<State, WasiRandom>(linker, random_context)
    }),
    ("wasi:filesystem/types@0.2.0", filesystem::add_types),
    ("wasi:filesystem/preopens@0.2.0", |linker, grants, _| {
        filesystem::add_preopens(linker, grants)
    }),
    ("wasi:sockets/network@0.2.0", |linker, grants, _| sockets::add_network(linker, grants)),
    ("wasi:sockets/instance-network@0.2.0", |linker, grants, _| {
        sockets::add_instance_network(linker, grants)
    }),
    ("wasi:sockets/tcp@0.2.0", |linker, grants, _| sockets::add_tcp(linker, grants)),
    (SOCKETS[0], |linker, grants, _| sockets::add_tcp_create_socket(linker, grants)),
    ("wasi:sockets/udp@0.2.0", |linker, grants, _| sockets::add_udp(linker, grants)),
    (SOCKETS[1], |linker, grants, _| sockets::add_udp_create_socket(linker, grants)),
    (SOCKETS[2], sockets::add_ip_name_lookup),
];

/// The interface that a guest imports if it waits for time to pass.
pub(crate) const POLL: &str = poll::NAME;

/// The interfaces of random numbers.
const RANDOM: [&str; 3] =
    ["wasi:random/random@0.2.0", "wasi:random/insecure@0.2.0", "wasi:random/insecure-seed@0.2.0"];

/// The interfaces that a guest imports if it opens sockets or looks up names.
const SOCKETS: [&str; 3] = [
    "wasi:sockets/tcp-create-socket@0.2.0",
    "wasi:sockets/udp-create-socket@0.2.0",
    "wasi:sockets/ip-name-lookup@0.2.0",
];

/// Returns `true` if a component with these imports opens sockets or looks up names.
pub(crate) fn networks(imports: &[String]) -> bool {
    has_any(&SOCKETS, imports)
}

/// Returns `true` if a component with these imports needs a [`Context`] that was made for the
/// request.
pub(crate) fn needs_context(imports: &[String]) -> bool {
    has_any(&RANDOM, imports)
}

fn has_any(interfaces: &[&str], imports: &[String]) -> bool {
    let is_imported = |ours: &&str| imports.iter().any(|theirs| is_compatible(ours, theirs));
    interfaces.iter().any(is_imported)
}

fn cli_context(state: &mut State) -> WasiCliCtxView<'_> {
    WasiCliCtxView { ctx: state.wasi.get().cli(), table: &mut state.table }
}

fn clocks_context(state: &mut State) -> WasiClocksCtxView<'_> {
    WasiClocksCtxView { ctx: state.wasi.get().clocks(), table: &mut state.table }
}

fn random_context(state: &mut State) -> &mut WasiRandomCtx {
    state.wasi.get().random()
}
