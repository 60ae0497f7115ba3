//! `serve`: from options to a server, and on to its end.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socketserver::{Endpoint, Server, Threading};
use socketserver_sandbox::{Cache, Component, ComponentHandler, Engine, Policy};

use crate::args::{Concurrency, ServeOptions};
use crate::observe::{self, LogHooks};
use crate::signals;

/// The handler that is served when none is named.
const SAMPLE: (&str, &str) = ("upper", include_str!("../../../guests/upper/upper.wat"));

/// Serves until a signal.
pub fn serve(options: &ServeOptions) -> Result<()> {
    observe::init(options.log.log_format, options.log.log_level);
    raise_descriptor_limit();
    let server = server(options)?;
    // Before the ready line: whoever reads it may send a signal.
    signals::end_at_signal(server.shutdown_handle(), options.grace)
        .context("cannot wait for signals")?;
    announce(server.endpoints(), options.handler.is_none());
    server.serve_forever(options.attributes.poll_interval)?;
    server.server_close();
    Ok(())
}

fn server(options: &ServeOptions) -> Result<Server> {
    let handler_name = options
        .handler
        .as_deref()
        .map_or_else(|| "the embedded sample".to_owned(), |path| format!("`{}`", path.display()));
    let engine = Engine::new(Engine::capacity().requests)?;
    if let Some(why) = engine.fallback() {
        tracing::warn!("instances are made on demand, which is slower than from a pool: {why}");
    }
    let handler =
        handler(options, &engine).with_context(|| format!("cannot serve {handler_name}"))?;
    let concurrency = match options.concurrency {
        Concurrency::Sync => socketserver::Concurrency::Sync,
        Concurrency::Threading => socketserver::Concurrency::Threading(Threading {
            max_requests: options
                .max_requests
                .map(|max| usize::try_from(max).unwrap_or(usize::MAX)),
            capacity: handler.capacity(),
            daemon_threads: options.attributes.daemon_threads,
            block_on_close: options.attributes.block_on_close,
        }),
    };
    let hooks = LogHooks::new(handler.name().to_owned());
    let builder = Server::builder(handler)
        .hooks(hooks)
        .concurrency(concurrency)
        .request_queue_size(options.attributes.request_queue_size)
        .allow_reuse_address(options.attributes.allow_reuse_address)
        .allow_reuse_port(options.attributes.allow_reuse_port);
    let server = options
        .bind
        .iter()
        .fold(builder, |builder, endpoint| builder.bind(endpoint.clone()))
        .build()?;
    tracing::debug!(
        handler = handler_name,
        concurrency = ?options.concurrency,
        max_requests = server.max_requests(),
        "serving"
    );
    Ok(server)
}

fn handler(options: &ServeOptions, engine: &Engine) -> Result<ComponentHandler> {
    let cache = cache(options.no_cache);
    let component = match &options.handler {
        Some(path) => Component::load(engine, path, &cache)?,
        None => Component::new(engine, SAMPLE.0, SAMPLE.1.into(), &cache)?,
    };
    let default = Policy::default();
    let policy = Policy {
        memory: options.memory,
        memory_total: options.memory_total.unwrap_or(default.memory_total),
        cpu_time: options.cpu_time,
        idle_timeout: options.idle_timeout,
    };
    Ok(ComponentHandler::new(engine, &component, policy)?)
}

/// The cache of the user, or none, with a warning, if that is not to be had.
pub fn cache(no_cache: bool) -> Cache {
    if no_cache {
        return Cache::none();
    }
    Cache::of_user().unwrap_or_else(|error| {
        tracing::warn!("handlers are compiled at each start: {error}");
        Cache::none()
    })
}

/// Prints the ready lines. Whoever started this may have closed the other end
/// of the pipe; that is no reason to stop serving.
fn announce(endpoints: &[Endpoint], sample: bool) {
    let mut stdout = io::stdout().lock();
    for endpoint in endpoints {
        let _ = writeln!(stdout, "listening {endpoint}");
    }
    let _ = stdout.flush();
    let Some(address) = endpoints[0].address().to_socket_addr() else { return };
    if sample && io::stderr().is_terminal() {
        eprintln!(
            "This is the embedded sample. Try it from another terminal:\n\n    \
             python3 -c \"import socket; s = socket.create_connection(('{}', {})); s.sendall(b'hello world'); print(s.recv(1024))\"\n\n\
             `wasm-socketserver serve HANDLER` serves your own; --help tells more. Ctrl-C ends this.",
            address.ip(),
            address.port(),
        );
    }
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
