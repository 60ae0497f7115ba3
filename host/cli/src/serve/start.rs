//! The start of `serve`: the handler, and the server around it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, ensure};
use socketserver::access::Access;
use socketserver::service::PassedSocket;
use socketserver::{
    BindHint, BuildError, Concurrency, ConcurrencyKind, DeferAccept, Endpoint, Needs,
    RequestHandler, Server, TlsServer, TlsSettings, WorkerConcurrency, printable, run_in_child,
};
use socketserver_jail::JailMode;
use socketserver_sandbox::{
    Component, ComponentHandler, CpuTimes, Engine, EngineSettings, Loader, read_component,
};
use tracing::Level;

use super::broker;
use super::hooks::ServeHooks;
use super::passed::{self, Place};
use super::process_limits::ProcessLimits;
use super::restrictions::Restrictions;
use super::service::ServiceManager;
use super::signals::{self, SignalEvents, SignalHandlers};
use crate::monitor::process::{self as monitor, Shown};
use crate::report::access_log::AccessLog;
use crate::report::certificates::{self, Certificate};
use crate::report::counters::Counters;
use crate::report::{log, log_writer, printable_path};
use crate::settings::{Drain, LogSettings, Settings, default_endpoint};
use crate::values::digest::Digest;
use crate::values::endpoint::Bind;

/// The handler that is served when none is named: its name and its text.
const SAMPLE: (&str, &str) =
    ("upper", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/upper.wat")));

/// The longest error of a preflight process, in bytes.
const MAX_ERROR: usize = 4 << 10;

/// A handler that can be served, and all that was found out about it before a socket is bound.
struct Tried {
    /// The name of the handler, as sentences have it.
    name: String,
    handler: ComponentHandler,
    places: Vec<Place>,
    limits: ProcessLimits,
    access: Access,
    restrictions: Restrictions,
    /// The settings of a server whose requests begin with the first byte of their client.
    defer: Option<DeferAccept>,
    tls: Option<TlsServer>,
    certificates: Vec<Certificate>,
    /// True if the handler opens sockets in the jail.
    brokered: bool,
}

/// The parts of a process that its server uses.
pub struct Parts<'a> {
    /// The handlers of signals.
    pub handlers: SignalHandlers,
    /// The events that these report.
    pub events: SignalEvents,
    /// The counters.
    pub counters: &'a Arc<Counters>,
    /// The service manager.
    pub manager: &'a Arc<ServiceManager>,
    /// The number of the generation, if `up` has started the process.
    pub generation: Option<u64>,
    /// The file of the counters, if another program looks at them.
    pub file: Option<OwnedFd>,
}

/// Loads a handler and tries it. Without places, the handler is served at its default address.
fn try_handler(
    settings: &Settings,
    mut places: Vec<Place>,
    signals: &SignalHandlers,
    counters: &Arc<Counters>,
    manager: &ServiceManager,
) -> Result<Tried> {
    let name = settings.handler.as_deref().map_or_else(
        || "the embedded sample".to_owned(),
        |path| format!("`{}`", printable_path(path)),
    );
    let cannot_serve = || format!("cannot serve {name}");
    manager.loading(&name, settings.loading.longest());
    let kind = settings.concurrency.kind();
    let engine_settings = settings.loading.engine()?;
    let handler = handler(settings, &engine_settings).with_context(cannot_serve)?;
    let handler = handler.with_counters(Arc::<Counters>::clone(counters));
    let cpu_times = match settings.log.access {
        AccessLog::All | AccessLog::Failed => Some(CpuTimes::Read),
        AccessLog::Off => counters.is_watched().then_some(CpuTimes::Estimated),
    };
    let handler = match cpu_times {
        Some(cpu_times) => handler.with_usage(cpu_times),
        None => handler,
    };
    if places.is_empty() {
        places.push(Place::Address(endpoint_for(&handler)?));
    }
    let endpoints: Vec<_> = places.iter().map(|place| place.endpoint().clone()).collect();
    if let Some(proxies) = &settings.proxies {
        let mut checks = endpoints.iter().map(|endpoint| proxies.check_endpoint(endpoint));
        checks.try_for_each(|check| check).map_err(|why| anyhow!("--proxy-from: {why}"))?;
    }
    let defer = defer_accept(settings, &handler, &endpoints)?;
    let limits = ProcessLimits::for_policy(&settings.policy);
    let access = settings.access.rules(kind == ConcurrencyKind::Workers);
    let access = access.context("cannot tell the time for --access-times")?;
    let brokered = settings.jail != JailMode::Off && handler.opens_sockets();
    let restrictions =
        Restrictions::prepare(settings, &endpoints, handler.descriptors(), limits, brokered)?;
    if kind.forks() && handler.has_start() {
        preflight(&handler, kind, signals, &restrictions, limits.preflight)
            .with_context(cannot_serve)?;
    }
    // The preflight is over: code of the handler ran in a process that has no key.
    let tls = settings.tls.as_ref().map(TlsServer::load).transpose();
    let tls = tls.context("cannot speak TLS")?;
    if let Some(tls) = &tls {
        // A place without a socket yet may be the one that has it.
        let some_have = settings.bind.iter().any(Bind::has_tls);
        let have = endpoints.iter().filter(|endpoint| endpoint.has_tls() || !some_have);
        let mut checks = have.map(|endpoint| tls.check_endpoint(endpoint));
        checks.try_for_each(|check| check).map_err(|why| anyhow!("--tls-cert: {why}"))?;
    }
    let certificates = tls.as_ref().map(certificates::of_server).unwrap_or_default();
    certificates::warn(&certificates);
    Ok(Tried {
        name,
        handler,
        places,
        limits,
        access,
        restrictions,
        defer,
        tls,
        certificates,
        brokered,
    })
}

/// Returns the settings of a server whose requests begin with the first byte of their client, if
/// the operator wants that, or the handler states that its clients speak first.
fn defer_accept(
    settings: &Settings,
    handler: &ComponentHandler,
    endpoints: &[Endpoint],
) -> Result<Option<DeferAccept>> {
    let defer = DeferAccept {
        idle_timeout: settings.policy.idle_timeout,
        max_connections: handler.connection_capacity(),
    };
    let mut checks = endpoints.iter().map(|endpoint| defer.check_endpoint(endpoint));
    let checked = checks.try_for_each(|check| check);
    if settings.defer_accept {
        checked.map_err(|why| anyhow!("--defer-accept: {why}"))?;
        return Ok(Some(defer));
    }
    // A component that is served at sockets for datagrams as well keeps its statement for itself.
    Ok((handler.clients_speak_first() && checked.is_ok()).then_some(defer))
}

/// Loads a handler and tries it, as a server does before it binds its sockets.
///
/// # Errors
///
/// The handler cannot be served, or the machine lacks what that needs.
pub fn check(settings: &Settings) -> Result<()> {
    let log = LogSettings::default();
    log::init(log.format, Level::WARN, log.rate, false);
    log_writer::share_state().context("cannot share the state of the log")?;
    let (signals, _events) = signals::install().context("cannot handle signals")?;
    let counters = Arc::new(Counters::new().context("cannot make counters")?);
    let addresses = settings.bind.iter().filter_map(Bind::address).cloned();
    let places = addresses.map(Place::Address).collect();
    let manager = ServiceManager::default();
    let tried = try_handler(settings, places, &signals, &counters, &manager)?;
    for place in &tried.places {
        let fits = tried.handler.check_endpoint(place.endpoint());
        fits.map_err(|why| anyhow!("cannot serve {}: {why}", place.endpoint()))?;
    }
    Ok(())
}

/// Returns a server that listens, and whose process has given up what it does not need.
///
/// # Errors
///
/// The handler or an address cannot be served, or the machine lacks what that needs.
pub fn server(settings: Settings, passed: Vec<PassedSocket>, parts: Parts<'_>) -> Result<Server> {
    let Parts { handlers, events, counters, manager, generation, file } = parts;
    let places = passed::places(&settings.bind, passed)?;
    let tried = try_handler(&settings, places, &handlers, counters, manager)?;
    let Tried { name, handler, places, limits, access, restrictions, .. } = tried;
    let Tried { defer, tls, certificates, brokered, .. } = tried;
    let kind = settings.concurrency.kind();
    let changes_user = settings.user.is_some() && !kind.forks();
    let broker = brokered.then(|| broker::start(&settings)).transpose()?;
    let (handler, restrictions) = match broker {
        Some(broker) => {
            (handler.with_broker(Arc::clone(&broker)), restrictions.with_broker(broker))
        }
        None => (handler, restrictions),
    };
    events.second_signal.make_first_graceful();
    restrictions.log_walls();
    let concurrency = with_capacity(settings.concurrency, &handler, limits, settings.tls.as_ref());
    let handler_name = handler.name().to_owned();
    let hooks = ServeHooks {
        handler: handler_name.clone(),
        signals: handlers,
        restrictions: restrictions.clone(),
        access,
        counters: Arc::clone(counters),
        manager: Arc::clone(manager),
        access_log: settings.log.access,
        generation,
        print_requests: events.print_requests,
        log_format: settings.log.format,
        last_accept_error: Mutex::new(None),
    };
    let builder = Server::builder(handler)
        .hooks(hooks)
        .concurrency(concurrency)
        .shutdown_when_readable(events.shutdown)
        .graceful_shutdown(settings.shutdown.drain == Drain::InFlightAndQueued)
        .signals_for_parent(&signals::FOR_PARENT)
        .service_when_readable(events.wake);
    let builder = settings.sockets.apply(builder);
    let builder = match settings.timeout {
        Some(timeout) => builder.timeout(Some(timeout)),
        None => builder,
    };
    let builder = match settings.proxies {
        Some(proxies) => builder.proxies(proxies),
        None => builder,
    };
    let builder = match defer {
        Some(defer) => builder.defer_accept(defer),
        None => builder,
    };
    let builder = match tls {
        Some(tls) => builder.tls(tls),
        None => builder,
    };
    let built = places.into_iter().fold(builder, |builder, place| place.add_to(builder)).build();
    let server = built.map_err(with_option)?;
    if let Some(counters) = file.filter(|_| !settings.monitor.is_empty()) {
        let (user, endpoints) = (settings.user, server.endpoints());
        let (handler, certificates) = (&*handler_name, &*certificates);
        let shown = Shown { handler, endpoints, certificates, user, counters };
        monitor::start(&settings.monitor, shown)?;
    }
    manager.certificates(&certificates);
    // From here on the process opens and binds nothing.
    restrictions.apply_to_server()?;
    if changes_user {
        // The kernel forgets it with the user.
        manager.end_with_parent().context("cannot end with the process that started this one")?;
    }
    tracing::debug!(
        handler = name,
        concurrency = kind.as_str(),
        max_requests = server.max_requests(),
        "serving"
    );
    Ok(server)
}

/// Returns the engine for a component, which is given as its bytes.
fn engine(
    concurrency: &Concurrency,
    settings: &EngineSettings,
    component: &[u8],
    loader: &Loader,
) -> Result<Engine> {
    if concurrency.kind() == ConcurrencyKind::Forking {
        // Each fork would copy the many mappings of a pool.
        return Ok(Engine::on_demand(settings)?);
    }
    let engine = if concurrency.has_fibers() {
        let processes = match concurrency {
            Concurrency::Workers(workers) => workers.count,
            _ => 1,
        };
        let pool = Component::pool_for_fibers(settings, component, loader)?;
        Engine::for_fibers(processes, settings, pool)?
    } else {
        Engine::new(Engine::capacity().requests, settings)?
    };
    if let Some(why) = engine.fallback() {
        tracing::warn!("instances are made on demand, which is slower than from a pool: {why}");
    }
    Ok(engine)
}

fn handler(settings: &Settings, for_engine: &EngineSettings) -> Result<ComponentHandler> {
    let loader = settings.loading.loader();
    let (name, bytes) = match &settings.handler {
        Some(path) => {
            let bytes = read_component(path, loader.component_size)?;
            check_digest(settings.digest, &bytes)?;
            let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
            (name, bytes)
        }
        None => (SAMPLE.0.into(), SAMPLE.1.into()),
    };
    let engine = engine(&settings.concurrency, for_engine, &bytes, &loader)?;
    let component = Component::new(&engine, &name, bytes, &loader)?;
    let policy = settings.policy.clone();
    Ok(if settings.concurrency.kind().forks() {
        // Code of the handler runs in the jail only.
        ComponentHandler::without_start(&engine, &component, policy)?
    } else {
        ComponentHandler::new(&engine, &component, policy)?
    })
}

/// Checks that a component has the digest that it must have.
fn check_digest(wanted: Option<Digest>, bytes: &[u8]) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let digest = Digest::compute(bytes);
    ensure!(digest == wanted, "its digest is {digest}, and must be {wanted}");
    Ok(())
}

/// Returns the address for a handler when no option names one: TCP if the handler serves
/// connections, or else UDP.
fn endpoint_for(handler: &ComponentHandler) -> Result<Endpoint> {
    let (tcp, udp) = (default_endpoint("tcp")?, default_endpoint("udp")?);
    let only_udp = handler.check_endpoint(&tcp).is_err() && handler.check_endpoint(&udp).is_ok();
    Ok(if only_udp { udp } else { tcp })
}

/// Runs the preflight of the handler in a process with the restrictions of those that serve,
/// which is killed after `max_lifetime`.
fn preflight(
    handler: &ComponentHandler,
    kind: ConcurrencyKind,
    signals: &SignalHandlers,
    restrictions: &Restrictions,
    max_lifetime: Duration,
) -> Result<()> {
    let finished = run_in_child(Some(max_lifetime), |report| {
        let keep = (kind == ConcurrencyKind::Forking).then_some(report);
        signals.apply_to_child().map_err(|error| error.to_string())?;
        restrictions
            .apply_to_child(None, keep, signals.descriptors())
            .map_err(|error| format!("{error:#}"))?;
        handler.preflight().map_err(|error| format!("{:#}", anyhow!(error)))
    });
    // Native code that escaped from the sandbox could write any error.
    finished
        .context("cannot run the preflight")?
        .map_err(|error| anyhow!(printable(&error, MAX_ERROR)))
}

/// Adds what depends on the handler: how many requests the machine can hold, and the longest
/// life of a forked process.
fn with_capacity(
    concurrency: Concurrency,
    handler: &ComponentHandler,
    limits: ProcessLimits,
    tls: Option<&TlsSettings>,
) -> Concurrency {
    let needs = |needs: Needs| if tls.is_some() { needs.with_tls() } else { needs };
    match concurrency {
        Concurrency::Sync => Concurrency::Sync,
        Concurrency::Threading(mut threading) => {
            threading.capacity = handler.capacity(needs(Needs::THREAD));
            Concurrency::Threading(threading)
        }
        Concurrency::Fibers(mut fibers) => {
            fibers.capacity = handler.capacity(needs(Needs::FIBER));
            Concurrency::Fibers(fibers)
        }
        Concurrency::Forking(mut forking) => {
            forking.capacity = handler.capacity(needs(Needs::PROCESS));
            let handshake = tls.map_or(Duration::ZERO, |tls| tls.handshake_timeout);
            forking.max_lifetime = Some(limits.lifetime.saturating_add(handshake));
            Concurrency::Forking(forking)
        }
        Concurrency::Workers(mut workers) => {
            let capacity = |each| handler.capacity(needs(each).in_workers(workers.count));
            match &mut workers.concurrency {
                WorkerConcurrency::Threading(each) => each.capacity = capacity(Needs::THREAD),
                WorkerConcurrency::Fibers(each) => each.capacity = capacity(Needs::FIBER),
            }
            Concurrency::Workers(workers)
        }
    }
}

/// Returns the error, with the option that helps if there is one.
pub fn with_option(error: BuildError) -> Error {
    let BuildError::Bind { hint: Some(hint), .. } = &error else { return error.into() };
    let hint = *hint;
    let option = match hint {
        BindHint::StaleSocket => ": --remove-stale-socket true removes it",
        _ => "",
    };
    anyhow!("{:#}: {hint}{option}", Error::from(error))
}
