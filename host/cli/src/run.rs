//! `run`: a Python file as a server.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socketserver::{ConcurrencyKind, SocketType, printable};
use socketserver_sandbox::{Loader, read_component};

use crate::options::{self, RunOptions, ServerOptions};
use crate::python::{Attributes, Built, Kind, Program, ProgramServer, PythonBuild, read_program};
use crate::report::printable_path;
use crate::settings::Settings;
use crate::values::endpoint::Bind;
use crate::work::say;

/// The longest name of a class that is shown, in bytes.
const MAX_NAME: usize = 100;

/// Builds a program if that is needed, and returns the settings of its server.
///
/// # Errors
///
/// The program cannot be built, or cannot be served as the options say.
pub fn settings(options: RunOptions) -> Result<Settings> {
    let Built { component, program } = component_of(&options)?;
    let mut server = options.server;
    let name = printable_path(&options.program);
    // A component does not know the folder of its file.
    let folder = options.program.parent().filter(|_| is_python(&options.program));
    let folder = folder.unwrap_or(Path::new(""));
    apply(&program, folder, &mut server).with_context(|| format!("cannot serve `{name}` so"))?;
    Ok(server.settings(Some(component)).unwrap_or_else(|error| options::exit_contradiction(&error)))
}

fn is_python(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py")
}

fn component_of(options: &RunOptions) -> Result<Built> {
    let program = &options.program;
    if is_python(program) {
        let build = PythonBuild {
            file: program.clone(),
            arguments: options.arguments.clone(),
            env: options.server.grants.env(),
            packages: options.packages.python_path.clone(),
            anew: options.server.loading.no_cache,
        };
        return build.build();
    }
    let name = printable_path(program);
    let is_built = options.arguments.is_empty() && options.packages.python_path.is_empty();
    ensure!(is_built, "`{name}` is built already: its program ran with the arguments of `build`");
    let bytes = read_component(program, Loader::DEFAULT_COMPONENT_SIZE);
    let facts = bytes.map_err(anyhow::Error::from).and_then(|bytes| read_program(&bytes));
    let facts = facts.with_context(|| format!("cannot run `{name}`"))?;
    let Some(facts) = facts else {
        bail!("`{name}` is neither a Python file nor made from one: use `serve {name}`")
    };
    Ok(Built { component: program.clone(), program: facts })
}

/// Gives the options that are not set the values of the program.
fn apply(program: &Program, folder: &Path, options: &mut ServerOptions) -> Result<()> {
    let servers = &program.servers;
    if options.listening.bind.is_empty() {
        let endpoints = servers.iter().map(|server| server.endpoint(folder).map(Bind::Address));
        options.listening.bind = endpoints.collect::<Result<_>>()?;
        // The program would remove the file of its last run before it binds its socket, but cannot.
        options.listening.remove_stale_socket.get_or_insert(true);
        apply_modes(servers, options)?;
    }
    for endpoint in options.listening.bind.iter().filter_map(Bind::address) {
        let served = servers.iter().any(|it| it.kind.socket_type() == endpoint.socket_type());
        ensure!(
            served,
            "its program serves no {}: it cannot be bound to {endpoint}",
            match endpoint.socket_type() {
                SocketType::Stream => "connections",
                SocketType::Dgram => "datagrams",
            }
        );
    }
    let (running, python) = (&mut options.running, &mut options.python);
    let is_said =
        python.server.is_some() || running.concurrency.is_some() || running.workers.is_some();
    if !is_said {
        running.concurrency = Some(program.concurrency());
    }
    let is_threading = running.concurrency == Some(ConcurrencyKind::Threading);
    for server in servers {
        for ignored in &server.ignored {
            let (ignored, class) =
                (printable(ignored, MAX_NAME), printable(&server.class, MAX_NAME));
            say(&format!("wasm-socketserver: `{ignored}` of {class} has no effect\n"));
        }
        let Attributes {
            request_queue_size,
            allow_reuse_address,
            allow_reuse_port,
            max_packet_size,
            max_children,
            daemon_threads,
            block_on_close,
            timeout,
            poll_interval,
            socket_mode: _,
        } = &server.attributes;
        if server.kind == Kind::Stream {
            let size = number("request_queue_size", *request_queue_size, 0, 65_535)?;
            python.request_queue_size = python.request_queue_size.or(size);
        } else {
            let size = number("max_packet_size", *max_packet_size, 0, 1 << 20)?;
            python.max_packet_size = python.max_packet_size.or(size);
        }
        let children = number("max_children", *max_children, 1, 100_000)?;
        python.max_children = python.max_children.or(children);
        let set = |option: &mut Option<bool>, value: &Option<_>| {
            *option = option.or(value.map(bool::from));
        };
        set(&mut python.allow_reuse_address, allow_reuse_address);
        set(&mut python.allow_reuse_port, allow_reuse_port);
        set(&mut python.block_on_close, block_on_close);
        if is_threading {
            set(&mut python.daemon_threads, daemon_threads);
        }
        python.timeout = python.timeout.or(seconds("timeout", *timeout)?);
        python.poll_interval = python.poll_interval.or(seconds("poll_interval", *poll_interval)?);
    }
    Ok(())
}

/// Gives the files of Unix sockets the permissions that the program gives them.
fn apply_modes(servers: &[ProgramServer], options: &mut ServerOptions) -> Result<()> {
    let modes = servers.iter().filter_map(|server| server.attributes.socket_mode);
    let mut modes: Vec<_> = modes.collect();
    modes.dedup();
    match modes.as_slice() {
        _ if options.listening.socket_mode.is_some() => {}
        [] => {}
        [mode] => options.listening.socket_mode = number("socket_mode", Some(*mode), 0, 0o777)?,
        [one, other, ..] => bail!(
            "its servers give the files of their sockets the permissions {one:o} and {other:o}: write one with --socket-mode"
        ),
    }
    Ok(())
}

fn number(name: &str, value: Option<i64>, least: u32, most: u32) -> Result<Option<u32>> {
    let Some(value) = value else { return Ok(None) };
    let number = u32::try_from(value).ok().filter(|number| (least..=most).contains(number));
    ensure!(number.is_some(), "{name} is {value}, and must be from {least} to {most}");
    Ok(number)
}

fn seconds(name: &str, value: Option<f64>) -> Result<Option<Duration>> {
    let Some(value) = value else { return Ok(None) };
    let time = Duration::try_from_secs_f64(value);
    Ok(Some(time.with_context(|| format!("{name} is {value}, which is no time to wait"))?))
}
