//! `serve`: from options to a server, and on to its end.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::unistd::dup2_stdin;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socketserver::{
    Concurrency, Endpoint, Forking, Needs, Server, ServerBuilder, SocketType, Threading, Workers,
    printable, run_in_child,
};
use socketserver_sandbox::{Component, ComponentHandler, Engine, EngineSettings, Policy};

use crate::args::{self, ServeOptions};
use crate::counters::Counters;
use crate::jail::{self, GivenUp};
use crate::log_rate;
use crate::mode::{Mode, default_endpoint, endpoints, mode};
use crate::observe::{self, ServeHooks};
use crate::output::{self, Output};
use crate::overtime::Overtime;
use crate::owner::Owner;
use crate::signals::{self, Signals, Told};
use crate::way_out;

/// The handler that is served when none is named.
const SAMPLE: (&str, &str) = ("upper", include_str!("../../../guests/upper/upper.wat"));

/// How much a process may say of why a handler does not start, in bytes.
const MAX_ERROR: usize = 4 << 10;

/// How long the ready lines wait for room.
const READY: Duration = Duration::from_millis(100);

/// Serves until a signal, or one request.
pub fn serve(options: &ServeOptions) -> Result<()> {
    let (mode, endpoints) = match (mode(options), endpoints(options)) {
        (Ok(mode), Ok(endpoints)) => (mode, endpoints),
        (Err(error), _) | (_, Err(error)) => args::contradiction(&error),
    };
    let for_people = io::stderr().is_terminal();
    output::do_not_wait()?;
    log_rate::share().context("cannot make what the processes share of the log")?;
    let log = &options.log;
    observe::init(log.log_format, log.log_level, log.log_rate, for_people);
    observe::log_panics();
    raise_descriptor_limit();
    forget_standard_input();
    // Before the ready line: whoever reads it may send a signal.
    let (signals, told) = signals::watch().context("cannot wait for signals")?;
    let watched = (mode == Mode::Sync).then(|| told.end.try_clone()).transpose()?;
    let second = told.second.clone();
    let counters = Arc::new(Counters::new().context("cannot make counters")?);
    let attributes = &options.attributes;
    let waited = attributes.block_on_close && !(attributes.daemon_threads && mode.has_threads());
    let graceful = waited && !options.once && !options.grace.is_zero();
    let server = server(options, mode, endpoints, signals, told, &counters, graceful)?;
    let server = Arc::new(server);
    let format = options.log.log_format;
    let last_words = options.stats.then_some(move || counters.print(format));
    if let Some(watched) = watched {
        let server = Arc::clone(&server);
        let stop_listening = move || {
            if graceful {
                server.stop_listening();
            }
        };
        let (grace, second, last_words) = (options.grace, second.clone(), last_words.clone());
        let cut_off = signals::cut_off(&watched, grace, stop_listening, second, last_words);
        cut_off.context("cannot wait for signals")?;
    }
    if last_words.is_some() {
        second.is_looked_for();
    }
    let attributes = &options.attributes;
    let waited = attributes.block_on_close && !(attributes.daemon_threads && mode.has_threads());
    announce(server.endpoints(), options.handler.is_none() && for_people);
    if options.once {
        server.handle_request()?;
    } else {
        server.serve_forever(attributes.poll_interval)?;
        if mode != Mode::Sync {
            signals::ending(waited.then_some(options.grace));
        }
    }
    let last_words = last_words.as_ref().map(|say| say as &dyn Fn());
    let heard = last_words.filter(|_| waited);
    let mut left = 0;
    second.wait(options.grace, heard, |some| {
        left = server.server_close_within(some);
        left == 0
    });
    if left > 0 && waited {
        signals::still_in_flight(options.grace);
    }
    if let Some(last_words) = last_words {
        last_words();
    }
    observe::tell_dropped(true);
    // Whatever is left in threads ends with the process.
    std::process::exit(0)
}

fn server(
    options: &ServeOptions,
    mode: Mode,
    mut endpoints: Vec<Endpoint>,
    signals: Signals,
    told: Told,
    counters: &Arc<Counters>,
    graceful: bool,
) -> Result<Server> {
    let attributes = &options.attributes;
    let handler_name = options
        .handler
        .as_deref()
        .map_or_else(|| "the embedded sample".to_owned(), |path| format!("`{}`", path.display()));
    let cannot_serve = || format!("cannot serve {handler_name}");
    let settings = options.loading.settings()?;
    let engine = engine(mode, &settings)?;
    let handler = handler(options, mode, &engine).with_context(cannot_serve)?;
    let handler = handler.with_counters(Arc::<Counters>::clone(counters));
    if endpoints.is_empty() {
        endpoints.push(default_endpoint(&handler)?);
    }
    let overtime = Overtime::of(&policy(options, mode));
    let concurrency = concurrency(options, mode, &handler, overtime);
    let access = options.access.rules(matches!(mode, Mode::Workers(_)));
    let access = access.context("cannot tell the time for --access-times")?;
    let given_up = jail::prepare(options, mode, &endpoints, handler.descriptors(), overtime)?;
    if mode.forks() && handler.has_start() {
        let start = overtime.start;
        try_start(&handler, mode, &signals, &given_up, start).with_context(cannot_serve)?;
    }
    told.second.is_second();
    given_up.report();
    let hooks = ServeHooks {
        handler: handler.name().to_owned(),
        signals,
        given_up: given_up.clone(),
        access,
        counters: Arc::clone(counters),
        asked: (told.print, options.log.log_format),
        last_accept_error: Mutex::new(None),
    };
    let mut builder = Server::builder(handler)
        .hooks(hooks)
        .concurrency(concurrency)
        .request_queue_size(attributes.request_queue_size)
        .allow_reuse_address(attributes.allow_reuse_address.unwrap_or(false))
        .allow_reuse_address_for(SocketType::Stream, attributes.allow_reuse_address.unwrap_or(true))
        .allow_reuse_port(attributes.allow_reuse_port)
        .max_packet_size(attributes.max_packet_size as usize)
        .remove_stale_socket(options.files.remove_stale_socket)
        .shutdown_when_readable(told.end)
        .graceful_shutdown(graceful)
        .service_when_readable(told.attention);
    if let Some(mode) = options.files.socket_mode {
        builder = builder.socket_mode(mode);
    }
    if let Some(Owner { user, group }) = options.files.socket_owner {
        builder = builder.socket_owner(user, group);
    }
    if let Some(timeout) = attributes.timeout {
        builder = builder.timeout(Some(timeout));
    }
    let built = endpoints.into_iter().fold(builder, ServerBuilder::bind).build();
    let server = built.map_err(way_out::named)?;
    // Nothing is opened or bound from here on.
    given_up.by_this_process()?;
    tracing::debug!(
        handler = handler_name,
        concurrency = ?mode,
        max_requests = server.max_requests(),
        "serving"
    );
    Ok(server)
}

fn engine(mode: Mode, settings: &EngineSettings) -> Result<Engine> {
    if mode == Mode::Forking {
        // The many mappings of a pool would be copied at each fork.
        return Ok(Engine::on_demand(settings)?);
    }
    let engine = Engine::new(Engine::capacity().requests, settings)?;
    if let Some(why) = engine.fallback() {
        tracing::warn!("instances are made on demand, which is slower than from a pool: {why}");
    }
    Ok(engine)
}

fn concurrency(
    options: &ServeOptions,
    mode: Mode,
    handler: &ComponentHandler,
    overtime: Overtime,
) -> Concurrency {
    let attributes = &options.attributes;
    let max_requests = options.max_requests.map(|max| max as usize);
    let threading = |max_requests, needs| Threading {
        max_requests,
        capacity: handler.capacity(needs),
        daemon_threads: attributes.daemon_threads,
        block_on_close: attributes.block_on_close,
    };
    match mode {
        Mode::Sync => Concurrency::Sync,
        Mode::Threading => Concurrency::Threading(threading(max_requests, Needs::THREAD)),
        Mode::Forking => Concurrency::Forking(Forking {
            max_children: attributes.max_children as usize,
            capacity: handler.capacity(Needs::PROCESS),
            block_on_close: attributes.block_on_close,
            max_lifetime: Some(overtime.lifetime),
        }),
        Mode::Workers(count) => {
            let each = max_requests.map(|max| max / count);
            let threading = threading(each, Needs::THREAD.in_workers(count));
            Concurrency::Workers(Workers { count, threading })
        }
    }
}

fn handler(options: &ServeOptions, mode: Mode, engine: &Engine) -> Result<ComponentHandler> {
    let loader = options.loading.loader(options.loading.profile.jail(options.jail, mode));
    let component = match &options.handler {
        Some(path) => Component::load(engine, path, &loader)?,
        None => Component::new(engine, SAMPLE.0, SAMPLE.1.into(), &loader)?,
    };
    let policy = policy(options, mode);
    Ok(if mode.forks() {
        // What runs of it runs in the jail.
        ComponentHandler::without_start(engine, &component, policy)?
    } else {
        ComponentHandler::new(engine, &component, policy)?
    })
}

/// Tries whether a handler starts, in a process that gives up what those that serve do, and
/// is there for `max_lifetime` at the most.
fn try_start(
    handler: &ComponentHandler,
    mode: Mode,
    signals: &Signals,
    given_up: &GivenUp,
    max_lifetime: Duration,
) -> Result<()> {
    let tried = run_in_child(Some(max_lifetime), |told| {
        let keep = (mode == Mode::Forking).then_some(told);
        signals.in_child().map_err(|error| error.to_string())?;
        given_up
            .in_child(None, keep, signals.descriptors())
            .map_err(|error| format!("{error:#}"))?;
        handler.try_start().map_err(|error| format!("{:#}", anyhow!(error)))
    });
    // Whoever broke out could say anything.
    tried.context("cannot try it")?.map_err(|error| anyhow!(printable(&error, MAX_ERROR)))
}

/// What a request may do: what was asked for, or what the profile says.
fn policy(options: &ServeOptions, mode: Mode) -> Policy {
    let defaults = options.loading.profile.defaults();
    let total = options.memory_total.unwrap_or(Policy::default().memory_total);
    // Processes do not see what the others use, so each has its share.
    let processes = match mode {
        Mode::Sync | Mode::Threading => 1,
        Mode::Forking => options.attributes.max_children as usize,
        Mode::Workers(count) => count,
    };
    Policy {
        memory: options.memory.unwrap_or(defaults.memory),
        memory_total: total / processes,
        cpu_time: options.cpu_time.unwrap_or(defaults.cpu_time),
        idle_timeout: options.idle_timeout.unwrap_or(defaults.idle_timeout),
        wall_time: options.wall_time.unwrap_or(defaults.wall_time),
        env: options.grants.env(),
        dirs: options.grants.dir.clone(),
        ..options.budget.policy(defaults)
    }
}

/// Prints the ready lines. Whoever started this may have closed the other end of the
/// pipe, or not read from it: that is no reason to stop serving.
fn announce(endpoints: &[Endpoint], sample: bool) {
    let lines: Vec<_> =
        endpoints.iter().map(|endpoint| format!("listening {endpoint}\n")).collect();
    let lines = lines.concat();
    let full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    let mut said = Output::Standard.write(lines.as_bytes());
    if said.as_ref().is_err_and(full) && Output::Standard.has_room_within(READY) {
        said = Output::Standard.write(lines.as_bytes());
    }
    match said {
        Ok(written) if written < lines.len() => not_announced(),
        Err(error) if full(&error) => not_announced(),
        Ok(_) | Err(_) => {}
    }
    let Some(address) = endpoints[0].address().to_socket_addr() else { return };
    let stream = endpoints[0].socket_type() == SocketType::Stream;
    if sample && stream {
        let help = format!(
            "This is the embedded sample. Try it from another terminal:\n\n    \
             python3 -c \"import socket; s = socket.create_connection(('{}', {})); s.sendall(b'hello world'); print(s.recv(1024))\"\n\n\
             `wasm-socketserver serve HANDLER` serves your own; --help tells more. Ctrl-C ends this.\n",
            address.ip(),
            address.port(),
        );
        // It is no loss where that cannot be written.
        let _ = log_rate::unlimited().write_all(help.as_bytes());
    }
}

fn not_announced() {
    tracing::warn!("standard output did not take the lines that say where this listens");
}

/// Allows as many open sockets as the system lets this process have. Servers
/// are expected to do so; the lower limit is there for programs that use
/// `select`.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of open files stays as it is: {error}");
    }
}

/// Nothing is read from standard input. Forked processes inherit it, and to one that was
/// taken over it could be what somebody types.
fn forget_standard_input() {
    if let Err(error) = File::open("/dev/null").and_then(|null| Ok(dup2_stdin(null)?)) {
        tracing::debug!("standard input stays open: {error}");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command, JailMode};

    /// What these options make of each default of a profile.
    fn limits(options: &[&str]) -> ([usize; 3], [Duration; 3], [u64; 2], JailMode) {
        let line = [&["wasm-socketserver", "serve"], options].concat();
        let Some(Command::Serve(options)) = Arguments::parse_from(line).command else { panic!() };
        let mode = mode(&options).unwrap();
        let policy = policy(&options, mode);
        (
            [policy.memory, policy.handles, policy.log_bytes],
            [policy.cpu_time, policy.idle_timeout, policy.wall_time],
            [policy.max_received, policy.max_sent],
            options.loading.profile.jail(options.jail, mode),
        )
    }

    #[test]
    fn a_profile_is_what_it_says_and_options_win() {
        let seconds = |all: [u64; 3]| all.map(Duration::from_secs);
        let forking = ["--concurrency", "forking"];
        let hostile = [&["--profile", "hostile"], &forking[..]].concat();
        assert_eq!(
            limits(&forking),
            ([64 << 20, 256, 64 << 10], seconds([10, 60, 3600]), [1 << 30; 2], JailMode::Try)
        );
        assert_eq!(
            limits(&hostile),
            ([16 << 20, 64, 8 << 10], seconds([1, 10, 60]), [64 << 20; 2], JailMode::Require)
        );
        assert_eq!(limits(&hostile[..2]).3, JailMode::Off);
        let given = "--memory 1MiB --handles 9 --log-bytes 2 --cpu-time 3s --idle-timeout 4s \
            --wall-time 5s --max-received 6 --max-sent 7 --jail try";
        let given: Vec<_> = given.split_whitespace().collect();
        assert_eq!(
            limits(&[hostile, given].concat()),
            ([1 << 20, 9, 2], seconds([3, 4, 5]), [6, 7], JailMode::Try)
        );
    }
}
