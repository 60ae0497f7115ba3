//! Limits of resources: `getrlimit(2)`.

use std::io::{self, stderr, stdout};

use rustix::fs::{FileType, fstat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::jail::{Jail, Kind};

/// The kernel counts CPU time in nanoseconds, and more of these than it has numbers for
/// would be few. These are 31 years.
const MOST_SECONDS: u64 = 1_000_000_000;

/// What a process may have.
pub(crate) struct Limits {
    /// What the process that forks can do without, too.
    shared: Vec<(Resource, Rlimit)>,
    own: Vec<(Resource, Rlimit)>,
}

impl Limits {
    /// For processes of this kind.
    pub(crate) fn new(jail: &Jail, kind: Kind) -> Self {
        let mut shared: Vec<(Resource, Rlimit)> = [
            Resource::Core,
            Resource::Memlock,
            Resource::Msgqueue,
            Resource::Locks,
            Resource::Nice,
            Resource::Rtprio,
        ]
        .map(|resource| (resource, at_most(Some(0))))
        .into();
        // No more than now. A worker accepts connections and starts threads; and
        // the kernel counts threads for a user, not for a process.
        let as_now = |resource| (resource, at_most(getrlimit(resource).current));
        let mut own = Vec::new();
        own.push(match kind {
            // `poll(2)` takes no more descriptors than this at once. That no new
            // one has a number above it does not matter to those that there are.
            Kind::Request | Kind::Compile if !jail.opens() => (Resource::Nofile, at_most(Some(1))),
            Kind::Request | Kind::Worker | Kind::Compile => as_now(Resource::Nofile),
        });
        own.push(match kind {
            Kind::Request | Kind::Compile => (Resource::Nproc, at_most(Some(0))),
            Kind::Worker => as_now(Resource::Nproc),
        });
        // Writing a line of the log would end the process if that is a file.
        if jail.read_write.is_empty() && !logs_to_a_file() {
            shared.push((Resource::Fsize, at_most(Some(0))));
        }
        own.extend(jail.address_space.map(|bytes| (Resource::As, at_most(Some(bytes)))));
        own.extend(jail.cpu_seconds.map(|seconds| {
            // At the second of the two nothing says any more why it ended.
            let within = |seconds: u64| {
                let most = getrlimit(Resource::Cpu).maximum.unwrap_or(MOST_SECONDS);
                Some(seconds.min(most).min(MOST_SECONDS))
            };
            let (current, maximum) = (within(seconds), within(seconds.saturating_add(1)));
            (Resource::Cpu, Rlimit { current, maximum })
        }));
        Limits { shared, own }
    }

    /// Sets those that are the same for the process that forks.
    pub(crate) fn set_shared(&self) -> io::Result<()> {
        set(&self.shared)
    }

    /// Sets the others.
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

fn at_most(limit: Option<u64>) -> Rlimit {
    Rlimit { current: limit, maximum: limit }
}

fn logs_to_a_file() -> bool {
    let is_file = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode).is_file();
    [fstat(stdout()), fstat(stderr())].into_iter().flatten().any(is_file)
}
