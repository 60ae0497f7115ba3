//! Reports to a service manager such as systemd: `sd_notify(3)`.
//!
//! The connection is made before the jail, in which no socket can be opened. A report is one
//! `write(2)`, which the jail allows.

use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::time::{ClockId, clock_gettime};
use socketserver::printable;

use crate::report::certificates::Certificate;

/// The time that an important report waits for room.
const MAX_WAIT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The field with a certificate of the server, which is none of systemd.
pub const CERTIFICATE: &str = "X_CERTIFICATE";

/// The longest text of a status, in bytes.
const MAX_STATUS: usize = 200;

/// The most certificates in one report.
const CERTIFICATES: usize = 16;

/// The share of the watchdog's time after which the loop gives a sign of life.
const SHARE: u32 = 4;

/// The time that the process has beyond the times that its settings say.
const MARGIN: Duration = Duration::from_secs(5);

/// The connection to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// The longest time between two signs of life, and the time of the last.
    watchdog: Option<(Duration, Mutex<Instant>)>,
    /// True if the parent of this process is the manager.
    is_parent: bool,
    /// The reason for which there is no connection.
    failure: Option<String>,
}

impl ServiceManager {
    /// Connects to the service manager at this address, if there is one.
    pub fn connect(address: Option<OsString>, watchdog: Option<Duration>) -> Self {
        let Some(address) = address else { return ServiceManager::default() };
        match connect(&address) {
            Ok(socket) => ServiceManager {
                socket: Some(socket),
                watchdog: watchdog.map(|time| (time, Mutex::new(Instant::now()))),
                ..ServiceManager::default()
            },
            Err(error) => {
                let address = printable(&address.to_string_lossy(), MAX_STATUS);
                let failure = Some(format!("cannot be told anything at `{address}`: {error}"));
                ServiceManager { failure, ..ServiceManager::default() }
            }
        }
    }

    /// Reports on a socket that is connected to the parent of this process. When the parent
    /// ends, this process finishes its requests and ends.
    ///
    /// # Errors
    ///
    /// The parent has ended, or the kernel refuses.
    pub fn of_parent(socket: UnixDatagram) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = Some(socket);
        let manager = ServiceManager { socket, is_parent: true, ..ServiceManager::default() };
        manager.end_with_parent()?;
        Ok(manager)
    }

    /// Makes the kernel send SIGTERM when the parent ends, if it is the service manager.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn end_with_parent(&self) -> io::Result<()> {
        if self.is_parent {
            set_parent_process_death_signal(Some(Signal::TERM))?;
        }
        Ok(())
    }

    /// Logs that there is no connection, if there should be one.
    pub fn log_failure(&self) {
        if let Some(failure) = &self.failure {
            tracing::warn!("the service manager {failure}");
        }
    }

    /// Returns the descriptor of the connection, which forked processes do not need.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.socket.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Reports that the handler is loaded now, which takes `longest` at most.
    pub fn loading(&self, handler: &str, longest: Duration) {
        self.report(&[("STATUS", format!("loading {handler}")), extension(longest)]);
    }

    /// Reports the certificates, if `up` is the manager, before it is told that clients are served.
    pub fn certificates(&self, certificates: &[Certificate]) {
        for some in certificates.chunks(CERTIFICATES).filter(|_| self.is_parent) {
            let fields = some.iter().map(|one| (CERTIFICATE, one.to_string()));
            self.report(&fields.collect::<Vec<_>>());
        }
    }

    /// Reports that clients are served. A request that runs in the loop keeps the loop from
    /// giving signs of life for `longest_request`.
    pub fn ready(&self, status: &str, longest_request: Option<Duration>) {
        let watchdog = self.watchdog.as_ref().zip(longest_request);
        let watchdog =
            watchdog.map(|((time, _), request)| microseconds(time.saturating_add(request)));
        let mut report = vec![("READY", "1".to_owned()), ("STATUS", status.to_owned())];
        report.extend(watchdog.map(|time| ("WATCHDOG_USEC", time)));
        self.report(&report);
    }

    /// Reports that the configuration is read again.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.report(&[("RELOADING", "1".to_owned()), ("MONOTONIC_USEC", now.to_string())]);
    }

    /// Reports that the server ends, within `longest`.
    pub fn stopping(&self, longest: Duration) {
        self.report(&[
            ("STOPPING", "1".to_owned()),
            ("STATUS", "ending: clients that have come are served".to_owned()),
            extension(longest),
        ]);
    }

    /// Returns the longest time between two rounds of the loop.
    pub fn poll_interval(&self, wanted: Duration) -> Duration {
        let watchdog = self.watchdog.as_ref();
        watchdog.map_or(wanted, |(time, _)| wanted.min(*time / SHARE))
    }

    /// Gives a sign of life, if one is due. The loop calls it in each round.
    pub fn give_sign_of_life(&self) {
        let Some((time, last)) = &self.watchdog else { return };
        let now = Instant::now();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(*last) >= *time / SHARE / 2 {
            // If there is no room, the next round tries again.
            if self.write("WATCHDOG=1\n").is_ok() {
                *last = now;
            }
        }
    }

    fn report(&self, fields: &[(&str, String)]) {
        let Some(socket) = &self.socket else { return };
        let report = fields.iter().fold(String::new(), |mut text, (name, value)| {
            // Writing to a String does not fail. The value has no line breaks.
            let _ = writeln!(text, "{name}={}", printable(value, MAX_STATUS));
            text
        });
        let mut written = self.write(&report);
        if written == Err(Errno::AGAIN) {
            let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT)];
            let _ = poll(&mut fds, Some(&MAX_WAIT));
            written = self.write(&report);
        }
        if let Err(error) = written {
            tracing::warn!("the service manager was not told `{}`: {error}", report.trim_end());
        }
    }

    fn write(&self, report: &str) -> Result<(), Errno> {
        let Some(socket) = &self.socket else { return Ok(()) };
        // Not `send`, which the jail does not allow to the process that forks.
        rustix::io::write(socket, report.as_bytes()).map(drop)
    }
}

fn connect(address: &OsString) -> io::Result<UnixDatagram> {
    let bytes = address.as_bytes();
    let address = match bytes {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => return Err(io::Error::other("it is neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn extension(longest: Duration) -> (&'static str, String) {
    ("EXTEND_TIMEOUT_USEC", microseconds(longest.saturating_add(MARGIN)))
}

fn microseconds(time: Duration) -> String {
    time.as_micros().to_string()
}
