//! The meaning of the options of `serve` together.

use std::path::PathBuf;

use anyhow::{Result, bail};
use socketserver::{
    Concurrency, ConcurrencyKind, Fibers, Forking, Threading, WorkerConcurrency, Workers,
};
use socketserver_jail::JailMode;
use socketserver_sandbox::Policy;

use super::{ListeningOptions, PythonOptions, RunningOptions, ServeOptions, ServerOptions};
use crate::settings::{Drain, Settings, ShutdownSettings, SocketSettings, default_endpoint};
use crate::values::endpoint::Bind;

impl ServeOptions {
    /// Returns what the options mean.
    ///
    /// # Errors
    ///
    /// The options contradict each other.
    pub fn settings(self) -> Result<Settings> {
        let mut settings = self.server.settings(self.handler)?;
        settings.policy.args = self.args;
        settings.digest = self.digest;
        Ok(settings)
    }
}

impl ServerOptions {
    /// Returns what the options mean for a handler, or for the embedded sample.
    ///
    /// # Errors
    ///
    /// The options contradict each other.
    pub fn settings(self, handler: Option<PathBuf>) -> Result<Settings> {
        let default = Settings::default();
        let concurrency = concurrency(&self, default.concurrency.kind())?;
        let kind = concurrency.kind();
        let bind = bind(&self)?;
        let tls = self.tls.settings()?;
        if let (None, Some(bind)) = (&tls, bind.iter().find(|bind| bind.has_tls())) {
            bail!("{bind} needs a certificate: --tls-cert and --tls-key")
        }
        let shutdown = shutdown(&self.running, &self.python, kind);
        let profile = self.profile.profile();
        let jail = match self.isolation.jail {
            Some(JailMode::Require | JailMode::Try) if !kind.forks() => {
                bail!("--jail is for forked processes: add --concurrency forking or --workers")
            }
            Some(jail) => jail,
            None if kind.forks() => profile.jail(),
            None => JailMode::Off,
        };
        let network = self.grants.network();
        let limits = self.limits.policy(profile.policy());
        let policy = Policy {
            // A process does not see what the others use.
            memory_total: limits.memory_total / processes(&concurrency),
            env: self.grants.env(),
            network,
            dirs: self.grants.dir,
            ..limits
        };
        Ok(Settings {
            handler,
            digest: None,
            loading: self.loading.settings(&self.profile, jail),
            policy,
            bind,
            sockets: sockets(&self.listening, &self.python),
            concurrency,
            once: self.running.once,
            defer_accept: self.running.defer_accept,
            timeout: self.python.timeout,
            poll_interval: self.python.poll_interval.unwrap_or(default.poll_interval),
            access: self.access.settings(),
            proxies: self.proxy.settings()?,
            tls,
            jail,
            user: self.isolation.user,
            shutdown,
            log: self.log.settings(),
            monitor: self.monitoring.settings(),
        })
    }
}

fn sockets(listening: &ListeningOptions, python: &PythonOptions) -> SocketSettings {
    let default = SocketSettings::default();
    SocketSettings {
        request_queue_size: python.request_queue_size.unwrap_or(default.request_queue_size),
        allow_reuse_address: python.allow_reuse_address,
        allow_reuse_port: python.allow_reuse_port.unwrap_or(default.allow_reuse_port),
        max_packet_size: python.max_packet_size.map_or(default.max_packet_size, |max| max as usize),
        remove_stale_socket: listening.remove_stale_socket.unwrap_or(default.remove_stale_socket),
        mode: listening.socket_mode,
        owner: listening.socket_owner,
    }
}

fn shutdown(
    running: &RunningOptions,
    python: &PythonOptions,
    kind: ConcurrencyKind,
) -> ShutdownSettings {
    let default = ShutdownSettings::default();
    let grace = running.grace.unwrap_or(default.grace);
    let threading = threading(python);
    let drain = if !threading.block_on_close || threading.daemon_threads && kind.has_threads() {
        Drain::Nothing
    } else if running.once || grace.is_zero() {
        Drain::InFlight
    } else {
        default.drain
    };
    ShutdownSettings { grace, drain }
}

/// Returns how requests run: what `--server`, `--concurrency` and `--workers` say together.
fn concurrency(options: &ServerOptions, default: ConcurrencyKind) -> Result<Concurrency> {
    let (running, python) = (&options.running, &options.python);
    let kind = match (python.server, running.concurrency) {
        (Some(class), _) => class.concurrency().kind(),
        (None, given) => given.unwrap_or(default),
    };
    let max_requests = running.max_requests.map(|max| max as usize);
    let threading = |max_requests| Threading { max_requests, ..threading(python) };
    let fibers = |max_requests, default: Fibers| {
        let Threading { block_on_close, daemon_threads, .. } = threading(None);
        Fibers { max_requests, block_on_close, daemon_threads, ..default }
    };
    Ok(match (running.workers.map(usize::from), kind) {
        (Some(count), ConcurrencyKind::Threading | ConcurrencyKind::Fibers) => {
            if let Some(max) = max_requests.filter(|max| *max < count) {
                bail!("--max-requests {max} leaves some of {count} workers without any: allow more")
            }
            let each = max_requests.map(|max| max / count);
            let concurrency = if kind == ConcurrencyKind::Fibers {
                WorkerConcurrency::Fibers(fibers(each, Fibers::in_workers(count)))
            } else {
                WorkerConcurrency::Threading(threading(each))
            };
            Concurrency::Workers(Workers { count, concurrency })
        }
        (Some(_), _) => {
            bail!(
                "workers run requests in threads or as fibers: leave out --workers, or the other \
                 concurrency"
            )
        }
        (None, ConcurrencyKind::Forking) => {
            if max_requests.is_some() {
                bail!("--max-requests is for threads: --max-children limits processes")
            }
            let default = Forking::new();
            Concurrency::Forking(Forking {
                max_children: python.max_children.map_or(default.max_children, |max| max as usize),
                block_on_close: python.block_on_close.unwrap_or(default.block_on_close),
                ..default
            })
        }
        (None, ConcurrencyKind::Sync) => Concurrency::Sync,
        (None, ConcurrencyKind::Fibers) => Concurrency::Fibers(fibers(max_requests, Fibers::new())),
        (None, _) => Concurrency::Threading(threading(max_requests)),
    })
}

/// Returns the threads that Python's attributes describe.
fn threading(python: &PythonOptions) -> Threading {
    let default = Threading::new();
    Threading {
        daemon_threads: python.daemon_threads.unwrap_or(default.daemon_threads),
        block_on_close: python.block_on_close.unwrap_or(default.block_on_close),
        ..default
    }
}

/// Returns the number of processes that share the memory of all requests.
fn processes(concurrency: &Concurrency) -> usize {
    match concurrency {
        Concurrency::Forking(forking) => forking.max_children,
        Concurrency::Workers(workers) => workers.count,
        _ => 1,
    }
}

/// Returns the addresses and the passed sockets that the options name.
fn bind(options: &ServerOptions) -> Result<Vec<Bind>> {
    let bind = &options.listening.bind;
    let Some(class) = options.python.server else { return Ok(bind.clone()) };
    for bind in bind {
        match bind {
            Bind::Address(endpoint) => class.check(endpoint)?,
            // The socket itself says which transport it has.
            Bind::Passed { .. } => bail!("{class} binds an address: use --concurrency with {bind}"),
        }
    }
    match class.scheme() {
        _ if !bind.is_empty() => Ok(bind.clone()),
        scheme @ ("tcp" | "udp") => Ok(vec![Bind::Address(default_endpoint(scheme)?)]),
        scheme => bail!("{class} needs a path: --bind {scheme}://PATH"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::options::{Arguments, Command};

    fn settings(options: &[&str]) -> Result<Settings> {
        let line = [&["wasm-socketserver", "serve"], options].concat();
        let Some(Command::Serve(options)) = Arguments::parse_from(line).command else { panic!() };
        options.settings()
    }

    /// Returns the settings that a profile sets.
    fn limits(options: &[&str]) -> ([usize; 3], [Duration; 3], [u64; 2], JailMode) {
        let Settings { policy, jail, .. } = settings(options).unwrap();
        (
            [policy.memory, policy.handles, policy.log_bytes],
            [policy.cpu_time, policy.idle_timeout, policy.wall_time],
            [policy.max_received, policy.max_sent],
            jail,
        )
    }

    #[test]
    fn a_profile_sets_defaults_and_options_override_it() {
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
        let given = "--memory 1MiB --log-bytes 2 --cpu-time 3s --idle-timeout 4s \
            --wall-time 5s --max-received 6 --max-sent 7 --jail try";
        let given: Vec<_> = given.split_whitespace().collect();
        assert_eq!(
            limits(&[hostile, given].concat()),
            ([1 << 20, 64, 2], seconds([3, 4, 5]), [6, 7], JailMode::Try)
        );
    }

    #[test]
    fn each_process_has_its_share_of_the_memory_of_all_requests() {
        for (options, share) in [
            (&["--memory-total", "120"][..], 120),
            (&["--memory-total", "120", "--workers", "3"], 40),
            (&["--memory-total", "120", "--concurrency", "forking"], 3),
            (&["--memory-total", "120", "--concurrency", "forking", "--max-children", "2"], 60),
        ] {
            assert_eq!(settings(options).unwrap().policy.memory_total, share, "{options:?}");
        }
    }

    #[test]
    fn a_server_waits_for_its_requests_as_python_s_attributes_say() {
        for (options, drain) in [
            (&[][..], Drain::InFlightAndQueued),
            (&["--once"], Drain::InFlight),
            (&["--grace", "0s"], Drain::InFlight),
            (&["--block-on-close", "false"], Drain::Nothing),
            (&["--daemon-threads", "true"], Drain::Nothing),
            (&["--daemon-threads", "true", "--concurrency", "sync"], Drain::InFlightAndQueued),
        ] {
            assert_eq!(settings(options).unwrap().shutdown.drain, drain, "{options:?}");
        }
    }
}
