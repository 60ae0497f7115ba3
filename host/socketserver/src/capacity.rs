//! How many requests this machine can hold at once.
//!
//! Each request in flight takes a thread, memory mappings, descriptors and
//! whatever its handler takes. Running into the kernel's limits ends badly: a
//! thread that cannot map its signal stack aborts the whole process. So the
//! limits are read when the server is made, and never reached.

use std::fmt;
use std::fs;
use std::path::Path;

use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};

/// What one request in flight takes from the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Memory mappings (`vm.max_map_count`).
    pub mappings: usize,
    /// Descriptors (`RLIMIT_NOFILE`).
    pub descriptors: usize,
    /// Bytes of memory.
    pub memory: usize,
    /// Bytes of addresses, used or not (`RLIMIT_AS`).
    pub address_space: usize,
    /// Threads, of which a process has one at least (`RLIMIT_NPROC`).
    pub threads: usize,
}

impl Needs {
    /// What a thread with its request socket takes. Its stack, the stack's
    /// guard page and the signal stack with its own are mappings; the memory is
    /// what is in use of its stacks and of the kernel's.
    pub const THREAD: Needs = Needs {
        mappings: 5,
        descriptors: 1,
        memory: 64 << 10,
        address_space: 2304 << 10,
        threads: 1,
    };

    /// What a forked process with its request takes from the one that forks: a
    /// descriptor to watch it by. Its mappings are its own; the memory is what
    /// it no longer shares.
    pub const PROCESS: Needs =
        Needs { mappings: 0, descriptors: 1, memory: 1 << 20, address_space: 0, threads: 1 };

    /// The needs of one request in a worker process of `workers`: the memory
    /// and the threads of the machine are for all of them together.
    #[must_use]
    pub fn in_workers(self, workers: usize) -> Needs {
        Needs {
            memory: self.memory.saturating_mul(workers),
            threads: self.threads.saturating_mul(workers),
            ..self
        }
    }
}

/// How many requests at once can be had, and what stands in the way of more.
///
/// It prints as `4096 (vm.max_map_count is 65530)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// The number of requests, at least 1.
    pub requests: usize,
    /// The limit that allows no more.
    pub limit: String,
}

impl Capacity {
    /// What the limits of this machine and of this process leave for requests
    /// that take `needs` each.
    ///
    /// Each limit keeps a reserve: other processes share some of them, and the
    /// host itself needs a part.
    pub fn of_this_machine(needs: Needs) -> Capacity {
        let mut capacity = Capacity {
            requests: MOST,
            limit: format!("this program never holds more than {MOST}"),
        };
        for limit in limits() {
            let taken_by_one = match limit.of {
                Of::Mappings => needs.mappings,
                Of::Descriptors => needs.descriptors,
                Of::Memory => needs.memory,
                Of::AddressSpace => needs.address_space,
                Of::Threads => needs.threads,
            };
            if taken_by_one == 0 {
                continue;
            }
            let free = limit.value.saturating_sub(limit.in_use);
            capacity.cap((free - free / 4) / taken_by_one, &|| {
                format!("{} is {}", limit.name, limit.value)
            });
        }
        capacity
    }

    /// Lowers the number to `requests` if that is lower, because of `limit`.
    pub fn cap(&mut self, requests: usize, limit: &dyn Fn() -> String) {
        if requests < self.requests {
            self.requests = requests.max(1);
            self.limit = limit();
        }
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.requests, self.limit)
    }
}

/// A bound for machines with no limits at all: each thread costs the kernel
/// memory too.
const MOST: usize = 100_000;

/// The kernel's default, where `/proc` does not tell: this limit must not be
/// taken for none.
const MAX_MAP_COUNT: usize = 65_530;

enum Of {
    Mappings,
    Descriptors,
    Memory,
    AddressSpace,
    Threads,
}

struct Limit {
    name: &'static str,
    of: Of,
    value: usize,
    in_use: usize,
}

/// The limits that could be read. One that cannot be is left out: there is
/// none (`RLIM_INFINITY`), or the kernel is not Linux.
fn limits() -> Vec<Limit> {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    let rlimit =
        |resource| getrlimit(resource).current.and_then(|limit| usize::try_from(limit).ok());
    let entries = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);

    let mut limits = Vec::new();
    let mut add = |name, of, value: Option<usize>, in_use| {
        limits.extend(value.map(|value| Limit { name, of, value, in_use }));
    };
    let maps = fs::read("/proc/self/maps").map_or(0, |maps| maps.split(|&b| b == b'\n').count());
    let max_map_count = number("/proc/sys/vm/max_map_count").or(Some(MAX_MAP_COUNT));
    add("vm.max_map_count", Of::Mappings, max_map_count, maps);
    add("RLIMIT_NOFILE", Of::Descriptors, rlimit(Resource::Nofile), entries("/proc/self/fd"));
    add("RLIMIT_NPROC", Of::Threads, rlimit(Resource::Nproc), 0);
    // The first number is that of all pages that have an address.
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').next().and_then(|pages| pages.parse::<usize>().ok());
    let in_use = pages.map_or(0, |pages| pages.saturating_mul(page_size()));
    add("RLIMIT_AS", Of::AddressSpace, rlimit(Resource::As), in_use);
    add("kernel.pid_max", Of::Threads, number("/proc/sys/kernel/pid_max"), 0);
    add("kernel.threads-max", Of::Threads, number("/proc/sys/kernel/threads-max"), 0);
    if let Some((max, current)) = cgroup("pids") {
        add("pids.max of the control group", Of::Threads, Some(max), current);
    }
    add("the memory of the machine", Of::Memory, memory_of_this_machine(), 0);
    limits
}

/// How much memory, in bytes, there is for this process at the most: that of
/// the machine, or what its control group allows if that is less. `None` if it
/// cannot be found out.
pub fn memory_of_this_machine() -> Option<usize> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: usize = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let total = kilobytes.saturating_mul(1024);
    Some(cgroup("memory").map_or(total, |(max, _)| total.min(max)))
}

/// The tightest limit on `what` of the control groups (version 2) that the
/// process is in, and how much of it is used.
fn cgroup(what: &str) -> Option<(usize, usize)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    Path::new("/sys/fs/cgroup")
        .join(group)
        .ancestors()
        .take_while(|path| path.starts_with("/sys/fs/cgroup"))
        .filter_map(|path| {
            let max = number(&path.join(format!("{what}.max")))?;
            Some((max, number(&path.join(format!("{what}.current"))).unwrap_or(0)))
        })
        .min_by_key(|(max, current)| max.saturating_sub(*current))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_more_is_had_less_often() {
        let cheap = Capacity::of_this_machine(Needs::THREAD);
        let dear = Capacity::of_this_machine(Needs { mappings: 5000, ..Needs::THREAD });
        assert!(dear.requests < cheap.requests, "{dear} < {cheap}");
        assert!(dear.requests >= 1);
        assert!(dear.limit.contains("vm.max_map_count"), "{dear}");
    }

    #[test]
    fn descriptors_count() {
        let greedy = Capacity::of_this_machine(Needs { descriptors: usize::MAX, ..Needs::THREAD });
        assert_eq!(greedy.requests, 1);
        assert!(greedy.limit.contains("RLIMIT_NOFILE"), "{greedy}");
    }
}
