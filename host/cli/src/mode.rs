//! Where to listen and how to run requests: what `--bind`, `--server`,
//! `--concurrency` and `--workers` say together.

use anyhow::{Result, bail};
use socketserver::{Endpoint, RequestHandler};
use socketserver_sandbox::ComponentHandler;

use crate::args::{Concurrency, JailMode, ServeOptions};

/// How requests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One at a time.
    Sync,
    /// Each in a thread.
    Threading,
    /// Each in a process.
    Forking,
    /// In threads of that many processes.
    Workers(usize),
}

impl Mode {
    /// Whether requests have threads.
    pub fn has_threads(self) -> bool {
        matches!(self, Mode::Threading | Mode::Workers(_))
    }

    /// Whether requests are served by forked processes.
    pub fn forks(self) -> bool {
        matches!(self, Mode::Forking | Mode::Workers(_))
    }
}

/// How requests are to be run.
///
/// Errors: the options contradict each other.
pub fn mode(options: &ServeOptions) -> Result<Mode> {
    let mode = match (options.server, options.concurrency) {
        (Some(class), _) => match class.concurrency() {
            socketserver::Concurrency::Sync => Mode::Sync,
            socketserver::Concurrency::Forking(_) => Mode::Forking,
            _ => Mode::Threading,
        },
        (None, Some(Concurrency::Sync)) => Mode::Sync,
        (None, Some(Concurrency::Forking)) => Mode::Forking,
        (None, Some(Concurrency::Threading) | None) => Mode::Threading,
    };
    let mode = match (options.workers, mode) {
        (None, mode) => mode,
        (Some(workers), Mode::Threading) => Mode::Workers(workers.into()),
        (Some(_), _) => bail!("--workers have threads: leave out the other way of concurrency"),
    };
    if !mode.forks() && !matches!(options.jail, None | Some(JailMode::Off)) {
        bail!("--jail is for forked processes: add --concurrency forking or --workers");
    }
    if let (Mode::Forking, Some(_)) = (mode, options.max_requests) {
        bail!("--max-requests is for threads; for processes there is --max-children");
    }
    if let (Mode::Workers(workers), Some(max)) = (mode, options.max_requests)
        && (max as usize) < workers
    {
        bail!("--max-requests {max} leaves some of {workers} workers without any: ask for more");
    }
    Ok(mode)
}

/// Where to listen; nowhere if that is left to the handler.
///
/// Errors: the class named by `--server` is of another transport.
pub fn endpoints(options: &ServeOptions) -> Result<Vec<Endpoint>> {
    let Some(class) = options.server else { return Ok(options.bind.clone()) };
    for endpoint in &options.bind {
        class.check(endpoint)?;
    }
    match class.scheme() {
        _ if !options.bind.is_empty() => Ok(options.bind.clone()),
        scheme @ ("tcp" | "udp") => Ok(vec![on_python_s_port(scheme)?]),
        scheme => bail!("{class} needs a path: --bind {scheme}://PATH"),
    }
}

/// Where a handler is served that nobody said anything about: on TCP if it can
/// be, or on UDP.
pub fn default_endpoint(handler: &ComponentHandler) -> Result<Endpoint> {
    let tcp = on_python_s_port("tcp")?;
    let udp = on_python_s_port("udp")?;
    let for_datagrams = handler.check_endpoint(&tcp).is_err();
    Ok(if for_datagrams && handler.check_endpoint(&udp).is_ok() { udp } else { tcp })
}

/// The port of Python's examples.
fn on_python_s_port(scheme: &str) -> Result<Endpoint> {
    Ok(format!("{scheme}://127.0.0.1:9999").parse()?)
}
