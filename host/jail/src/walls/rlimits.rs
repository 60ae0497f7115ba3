//! Limits of resources: `getrlimit(2)`.

use std::io::{self, stderr, stdout};

use rustix::fs::{FileType, fstat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Jail, Role};

/// The highest limit of CPU time: 31 years. The kernel counts CPU time in 64 bits of
/// nanoseconds, so a much higher number of seconds would overflow to a low limit.
const MAX_CPU_SECONDS: u64 = 1_000_000_000;

/// The descriptors of a process for one request that gets sockets from a broker. `poll(2)` may
/// have the same descriptor several times, and counts each.
const BROKERED: u64 = 1024;

/// The limits of a process.
pub(crate) struct Rlimits {
    /// Limits that also fit the process that forks.
    shared: Vec<(Resource, Rlimit)>,
    own: Vec<(Resource, Rlimit)>,
}

impl Rlimits {
    /// Returns the limits for processes with this role.
    pub(crate) fn new(jail: &Jail, role: Role) -> Self {
        let mut shared: Vec<(Resource, Rlimit)> = [
            Resource::Core,
            Resource::Memlock,
            Resource::Msgqueue,
            Resource::Locks,
            Resource::Nice,
            Resource::Rtprio,
        ]
        .map(|resource| (resource, limit(Some(0))))
        .into();
        // A worker accepts connections and starts threads, so its limits stay. The kernel
        // counts threads for each user and not for each process.
        let unchanged = |resource| (resource, limit(getrlimit(resource).current));
        let mut own = Vec::new();
        own.push(match role {
            // `poll(2)` fails for more descriptors than this limit. Descriptors that are
            // already open may have higher numbers.
            Role::Request if jail.brokered.is_some() && !jail.opens_files() => {
                let current = getrlimit(Resource::Nofile).current;
                (Resource::Nofile, limit(Some(current.map_or(BROKERED, |now| now.min(BROKERED)))))
            }
            Role::Request | Role::Compiler if !jail.opens_files() => {
                (Resource::Nofile, limit(Some(1)))
            }
            _ => unchanged(Resource::Nofile),
        });
        own.push(match role {
            Role::Request | Role::Compiler => (Resource::Nproc, limit(Some(0))),
            Role::Worker | Role::Broker => unchanged(Resource::Nproc),
        });
        // If the log is a file, RLIMIT_FSIZE would end the process at the next line.
        if jail.read_write.is_empty() && !logs_to_a_file() {
            shared.push((Resource::Fsize, limit(Some(0))));
        }
        own.extend(jail.address_space.map(|bytes| (Resource::As, limit(Some(bytes)))));
        own.extend(jail.cpu_seconds.map(|seconds| {
            let at_most = |seconds: u64| {
                let maximum = getrlimit(Resource::Cpu).maximum.unwrap_or(MAX_CPU_SECONDS);
                Some(seconds.min(maximum).min(MAX_CPU_SECONDS))
            };
            // SIGXCPU tells the reason; the SIGKILL a second later does not.
            let (current, maximum) = (at_most(seconds), at_most(seconds.saturating_add(1)));
            (Resource::Cpu, Rlimit { current, maximum })
        }));
        Rlimits { shared, own }
    }

    /// Sets the limits that also fit the process that forks.
    pub(crate) fn set_shared(&self) -> io::Result<()> {
        set(&self.shared)
    }

    /// Sets the other limits.
    pub(crate) fn set_own(&self) -> io::Result<()> {
        set(&self.own)
    }
}

fn set(limits: &[(Resource, Rlimit)]) -> io::Result<()> {
    for (resource, limit) in limits {
        setrlimit(*resource, *limit)?;
    }
    Ok(())
}

fn limit(value: Option<u64>) -> Rlimit {
    Rlimit { current: value, maximum: value }
}

fn logs_to_a_file() -> bool {
    let is_file = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode).is_file();
    [fstat(stdout()), fstat(stderr())].into_iter().flatten().any(is_file)
}
