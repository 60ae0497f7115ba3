//! The settings of `serve`: the meaning of all options together. They depend on no command
//! line, so that a source of settings other than it, such as a file, can fill the same type.

mod access;
mod sockets;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use socketserver::{Concurrency, Endpoint, ProxyProtocol, Threading, TlsSettings};
use socketserver_jail::JailMode;
use socketserver_sandbox::Policy;
use tracing::Level;

pub use access::AccessSettings;
pub use sockets::SocketSettings;

use crate::loading::LoadSettings;
use crate::monitor::MonitorSettings;
use crate::report::LogFormat;
use crate::report::access_log::AccessLog;
use crate::values::digest::Digest;
use crate::values::endpoint::Bind;
use crate::values::owner::Identity;

/// The settings of `serve`. They do not contradict each other.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file of the handler, or `None` for the embedded sample.
    pub handler: Option<PathBuf>,
    /// The digest that the component of the handler must have, if it must have one.
    pub digest: Option<Digest>,
    /// The loading of the handler.
    pub loading: LoadSettings,
    /// The limits of one request, the limits of all requests of one process, and the parts of
    /// the host that the handler sees.
    pub policy: Policy,
    /// The addresses that the server listens on, and the sockets that it is passed. Without
    /// any, the handler decides.
    pub bind: Vec<Bind>,
    /// The sockets at these addresses.
    pub sockets: SocketSettings,
    /// The concurrency.
    pub concurrency: Concurrency,
    /// True if the server ends after one request.
    pub once: bool,
    /// The time that one call of `handle_request` waits for its request, if it is limited.
    pub timeout: Option<Duration>,
    /// The longest time between two rounds of the loop's housekeeping.
    pub poll_interval: Duration,
    /// The rules about clients.
    pub access: AccessSettings,
    /// True if requests begin with the first byte of their clients.
    pub defer_accept: bool,
    /// The proxies that name the clients of their connections, if the server is behind some.
    pub proxies: Option<ProxyProtocol>,
    /// The certificates of the server, and its rules, if it speaks TLS.
    pub tls: Option<TlsSettings>,
    /// The jail of the processes that serve.
    pub jail: JailMode,
    /// The user that runs requests, if it is not the user of this process.
    pub user: Option<Identity>,
    /// The end of the server.
    pub shutdown: ShutdownSettings,
    /// The content and the format of the log.
    pub log: LogSettings,
    /// The addresses at which others look at the server.
    pub monitor: MonitorSettings,
}

/// The settings of a server about which nothing is said. Options and their help have these
/// defaults.
impl Default for Settings {
    fn default() -> Self {
        Settings {
            handler: None,
            digest: None,
            loading: LoadSettings::default(),
            policy: Policy::default(),
            bind: Vec::new(),
            sockets: SocketSettings::default(),
            concurrency: Concurrency::Threading(Threading::new()),
            once: false,
            timeout: None,
            poll_interval: Duration::from_millis(500),
            access: AccessSettings::default(),
            defer_accept: false,
            proxies: None,
            tls: None,
            jail: JailMode::Off,
            user: None,
            shutdown: ShutdownSettings::default(),
            log: LogSettings::default(),
            monitor: MonitorSettings::default(),
        }
    }
}

/// The end of the server.
#[derive(Debug, Clone, Copy)]
pub struct ShutdownSettings {
    /// The time that clients have to be served after a signal.
    pub grace: Duration,
    /// The clients that have that time.
    pub drain: Drain,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        ShutdownSettings { grace: Duration::from_secs(10), drain: Drain::InFlightAndQueued }
    }
}

/// The clients that a server still serves after a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// None: the server ends at once.
    Nothing,
    /// The clients whose requests are in flight.
    InFlight,
    /// Also the clients that wait in the server's queues.
    InFlightAndQueued,
}

/// The content and the format of the log.
#[derive(Debug, Clone, Copy)]
pub struct LogSettings {
    /// The format.
    pub format: LogFormat,
    /// The least severe level that is logged.
    pub level: Level,
    /// The number of lines that a process logs in a second.
    pub rate: u32,
    /// The requests that have a line each.
    pub access: AccessLog,
    /// True if the counters are printed at the end.
    pub stats: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            format: LogFormat::Text,
            level: Level::INFO,
            rate: 1000,
            access: AccessLog::Off,
            stats: false,
        }
    }
}

/// Returns the address of Python's examples, `localhost` and port 9999.
///
/// # Errors
///
/// The scheme is not `tcp` or `udp`.
pub fn default_endpoint(scheme: &str) -> Result<Endpoint> {
    Ok(format!("{scheme}://127.0.0.1:9999").parse()?)
}
