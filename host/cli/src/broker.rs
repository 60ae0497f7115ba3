//! `broker`: the hidden command that opens sockets for handlers in the jail. The server starts it
//! in a process of its own, which ends when the server has ended.

use std::fs::File;
use std::io::{self, IsTerminal, stdin};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::unistd::dup2_stdin;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::flag::register;
use socketserver::{Capacity, Needs};
use socketserver_jail::{Descriptors, Jail, Role};
use socketserver_sandbox::{BrokerLimits, NetworkGrants, SocketGrant, serve_broker};

use crate::options::BrokerOptions;
use crate::report::{log, output};
use crate::values::owner::Identity;

/// Opens sockets for the processes that come to the door, which is standard input.
///
/// # Errors
///
/// The jail cannot be entered, or standard input is no door.
pub fn broker(options: &BrokerOptions) -> Result<ExitCode> {
    // A terminal or a supervisor sends these to all processes of the server, whose requests may
    // go on after them.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1] {
        register(signal, Arc::default()).context("cannot handle signals")?;
    }
    let settings = options.log.settings();
    log::init(settings.format, settings.level, settings.rate, io::stderr().is_terminal());
    output::make_nonblocking()?;
    log::log_panics();
    let door = stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    let grants = options.grants.network();
    // Entering the jail closes a descriptor that this value would close again.
    let jail = ManuallyDrop::new(jail(options, &grants).prepare(Role::Broker)?);
    jail.enter(None, &Descriptors::Only(&[door.as_raw_fd()]))?;
    serve_broker(&door, grants, limits(options)).context("the broker cannot go on")?;
    Ok(ExitCode::SUCCESS)
}

fn jail(options: &BrokerOptions, grants: &NetworkGrants) -> Jail {
    let directories = grants.listen.iter().filter_map(SocketGrant::directory);
    let directories = directories.filter(|directory| directory.is_dir());
    Jail {
        user: options.user.map(|Identity { user, group }| (user, group)),
        raw_sockets: grants.raw,
        socket_directories: directories.map(Into::into).collect(),
        // A lookup reads what the operator configured, wherever that is.
        read_only: if grants.has_names() { vec!["/".into()] } else { Vec::new() },
        ..Jail::new(options.jail)
    }
}

fn limits(options: &BrokerOptions) -> BrokerLimits {
    let connections = Capacity::of_this_machine(Needs::THREAD).requests;
    let of_descriptors =
        Needs { descriptors: 2, mappings: 0, memory: 0, address_space: 0, threads: 0 };
    BrokerLimits {
        sockets: options.sockets,
        connects: options.connects,
        all_sockets: Capacity::of_this_machine(of_descriptors).requests,
        connections,
        connections_of_worker: connections / options.workers.max(1),
    }
}
