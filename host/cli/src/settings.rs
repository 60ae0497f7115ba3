//! The settings of `serve`: the meaning of all options together. A source of settings other than the command
//! line, such as a file, fills the same type.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use socketserver::{
    Concurrency, ConcurrencyKind, Endpoint, Forking, ServerBuilder, SocketType, Threading, Workers,
};
use socketserver_jail::JailMode;
use socketserver_sandbox::Policy;

use crate::loading::LoadSettings;
use crate::options::values::owner::{Identity, Owner};
use crate::options::{AccessOptions, LogOptions, ServeOptions};

/// The settings of `serve`. They do not contradict each other.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file of the handler, or `None` for the embedded sample.
    pub handler: Option<PathBuf>,
    /// The loading of the handler.
    pub loading: LoadSettings,
    /// The limits of one request, the limits of all requests of one process, and the parts of
    /// the host that the handler sees.
    pub policy: Policy,
    /// The addresses that the server listens on. Without any, the handler decides.
    pub endpoints: Vec<Endpoint>,
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
    pub access: AccessOptions,
    /// The jail of the processes that serve.
    pub jail: JailMode,
    /// The user that runs requests, if it is not the user of this process.
    pub user: Option<Identity>,
    /// The end of the server.
    pub shutdown: ShutdownSettings,
    /// The content and the format of the log.
    pub log: LogOptions,
}

/// The settings of listening sockets.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of sockets")]
pub struct SocketSettings {
    /// The length of the queue of connections.
    pub request_queue_size: u32,
    /// True to set `SO_REUSEADDR`. By default it is set for streams only.
    pub allow_reuse_address: Option<bool>,
    /// True to set `SO_REUSEPORT`.
    pub allow_reuse_port: bool,
    /// The longest datagram that is received whole, in bytes.
    pub max_packet_size: u32,
    /// True to remove the file of a Unix socket that is closed.
    pub remove_stale_socket: bool,
    /// The permissions of the files of Unix sockets.
    pub mode: Option<u32>,
    /// The owner of the files of Unix sockets.
    pub owner: Option<Owner>,
}

/// The end of the server.
#[derive(Debug, Clone, Copy)]
pub struct ShutdownSettings {
    /// The time that clients have to be served after a signal.
    pub grace: Duration,
    /// True if the server waits for requests in flight.
    pub waits: bool,
    /// True if the server serves the clients that wait in its queues.
    pub graceful: bool,
}

impl Settings {
    /// Returns what the options mean.
    ///
    /// # Errors
    ///
    /// The options contradict each other.
    pub fn from_options(options: ServeOptions) -> Result<Self> {
        let concurrency = concurrency(&options)?;
        let kind = concurrency.kind();
        let endpoints = endpoints(&options)?;
        let ServeOptions {
            handler,
            listening,
            running,
            profile,
            limits,
            access,
            grants,
            isolation,
            loading,
            log,
            python,
        } = options;
        let jail = match isolation.jail {
            Some(JailMode::Require | JailMode::Try) if !kind.forks() => {
                bail!("--jail is for forked processes: add --concurrency forking or --workers")
            }
            Some(jail) => jail,
            None if kind.forks() => profile.profile.jail(),
            None => JailMode::Off,
        };
        let limits = limits.policy(profile.profile.policy());
        let policy = Policy {
            // A process does not see what the others use.
            memory_total: limits.memory_total / processes(&concurrency),
            env: grants.env(),
            dirs: grants.dir,
            ..limits
        };
        let waits = python.block_on_close && !(python.daemon_threads && kind.has_threads());
        Ok(Settings {
            handler,
            loading: LoadSettings::new(&profile, &loading, jail),
            policy,
            endpoints,
            sockets: SocketSettings {
                request_queue_size: python.request_queue_size,
                allow_reuse_address: python.allow_reuse_address,
                allow_reuse_port: python.allow_reuse_port,
                max_packet_size: python.max_packet_size,
                remove_stale_socket: listening.remove_stale_socket,
                mode: listening.socket_mode,
                owner: listening.socket_owner,
            },
            concurrency,
            once: running.once,
            timeout: python.timeout,
            poll_interval: python.poll_interval,
            access,
            jail,
            user: isolation.user,
            shutdown: ShutdownSettings {
                grace: running.grace,
                waits,
                graceful: waits && !running.once && !running.grace.is_zero(),
            },
            log,
        })
    }
}

impl SocketSettings {
    /// Applies the settings to a server.
    pub fn apply(&self, builder: ServerBuilder) -> ServerBuilder {
        let reuse = |default| self.allow_reuse_address.unwrap_or(default);
        let builder = builder
            .request_queue_size(self.request_queue_size)
            .allow_reuse_address(reuse(false))
            .allow_reuse_address_for(SocketType::Stream, reuse(true))
            .allow_reuse_port(self.allow_reuse_port)
            .max_packet_size(self.max_packet_size as usize)
            .remove_stale_socket(self.remove_stale_socket);
        let builder = match self.mode {
            Some(mode) => builder.socket_mode(mode),
            None => builder,
        };
        match self.owner {
            Some(Owner { user, group }) => builder.socket_owner(user, group),
            None => builder,
        }
    }
}

/// Returns how requests run: what `--server`, `--concurrency` and `--workers` say together.
fn concurrency(options: &ServeOptions) -> Result<Concurrency> {
    let (running, python) = (&options.running, &options.python);
    let kind = match (python.server, running.concurrency) {
        (Some(class), _) => class.concurrency().kind(),
        (None, given) => given.unwrap_or(ConcurrencyKind::Threading),
    };
    let max_requests = running.max_requests.map(|max| max as usize);
    let threading = |max_requests| Threading {
        max_requests,
        daemon_threads: python.daemon_threads,
        block_on_close: python.block_on_close,
        ..Threading::new()
    };
    Ok(match (running.workers.map(usize::from), kind) {
        (Some(count), ConcurrencyKind::Threading) => {
            if let Some(max) = max_requests.filter(|max| *max < count) {
                bail!("--max-requests {max} leaves some of {count} workers without any: allow more")
            }
            let each = max_requests.map(|max| max / count);
            Concurrency::Workers(Workers { count, threading: threading(each) })
        }
        (Some(_), _) => {
            bail!("workers run requests in threads: leave out --workers, or the other concurrency")
        }
        (None, ConcurrencyKind::Forking) => {
            if max_requests.is_some() {
                bail!("--max-requests is for threads: --max-children limits processes")
            }
            Concurrency::Forking(Forking {
                max_children: python.max_children as usize,
                block_on_close: python.block_on_close,
                ..Forking::new()
            })
        }
        (None, ConcurrencyKind::Sync) => Concurrency::Sync,
        (None, _) => Concurrency::Threading(threading(max_requests)),
    })
}

/// Returns the number of processes that share the memory of all requests.
fn processes(concurrency: &Concurrency) -> usize {
    match concurrency {
        Concurrency::Forking(forking) => forking.max_children,
        Concurrency::Workers(workers) => workers.count,
        _ => 1,
    }
}

/// Returns the addresses that the options name.
fn endpoints(options: &ServeOptions) -> Result<Vec<Endpoint>> {
    let bind = &options.listening.bind;
    let Some(class) = options.python.server else { return Ok(bind.clone()) };
    for endpoint in bind {
        class.check(endpoint)?;
    }
    match class.scheme() {
        _ if !bind.is_empty() => Ok(bind.clone()),
        scheme @ ("tcp" | "udp") => Ok(vec![default_endpoint(scheme)?]),
        scheme => bail!("{class} needs a path: --bind {scheme}://PATH"),
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::{Arguments, Command};

    fn settings(options: &[&str]) -> Result<Settings> {
        let line = [&["wasm-socketserver", "serve"], options].concat();
        let Some(Command::Serve(options)) = Arguments::parse_from(line).command else { panic!() };
        Settings::from_options(*options)
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
        for (options, waits, graceful) in [
            (&[][..], true, true),
            (&["--once"], true, false),
            (&["--grace", "0s"], true, false),
            (&["--block-on-close", "false"], false, false),
            (&["--daemon-threads", "true"], false, false),
            (&["--daemon-threads", "true", "--concurrency", "sync"], true, true),
        ] {
            let shutdown = settings(options).unwrap().shutdown;
            assert_eq!((shutdown.waits, shutdown.graceful), (waits, graceful), "{options:?}");
        }
    }
}
