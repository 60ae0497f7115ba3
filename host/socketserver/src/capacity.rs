//! The number of requests that this machine can hold at once.
//!
//! Each request in flight takes a thread, memory mappings, descriptors, and
//! the resources of its handler. A process must not reach the kernel's limits: a
//! thread that cannot map its signal stack aborts the whole process. So the
//! limits are read when the server is made, and fewer requests are taken.

use std::fmt;
use std::fs;
use std::path::Path;

use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};

use crate::error::BuildError;

/// The resources that one request in flight takes from the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Memory mappings (`vm.max_map_count`).
    pub mappings: usize,
    /// Descriptors (`RLIMIT_NOFILE`).
    pub descriptors: usize,
    /// Bytes of memory.
    pub memory: usize,
    /// Bytes of address space, used or not (`RLIMIT_AS`).
    pub address_space: usize,
    /// Threads, of which a process has at least one (`RLIMIT_NPROC`).
    pub threads: usize,
}

impl Needs {
    /// The resources of a thread with its request socket. The mappings are its stack and
    /// the signal stack that Rust gives it, each with a guard page. The memory is the part in
    /// use of its stacks and of the kernel's.
    pub const THREAD: Needs = Needs {
        mappings: 4,
        descriptors: 1,
        memory: 64 << 10,
        address_space: 2304 << 10,
        threads: 1,
    };

    /// The resources of a task with its request socket. The mappings are a stack, which a task of
    /// WebAssembly has, and its guard page; the memory is the part of the stack in use.
    pub const FIBER: Needs =
        Needs { mappings: 2, descriptors: 1, memory: 16 << 10, address_space: 1 << 20, threads: 0 };

    /// The resources that a forked process with its request takes from its parent: a
    /// pidfd. Its mappings are its own. The memory is the part that it no longer shares.
    pub const PROCESS: Needs =
        Needs { mappings: 0, descriptors: 1, memory: 1 << 20, address_space: 0, threads: 1 };

    /// Returns the needs of one request whose connection has TLS: 64 KiB of records that the
    /// kernel has not taken yet, as much of a handshake that is not whole, and a record with its
    /// plain bytes.
    #[must_use]
    pub fn with_tls(self) -> Needs {
        Needs { memory: self.memory.saturating_add(168 << 10), ..self }
    }

    /// Returns the needs of one request in one of `workers` processes, which share the
    /// memory and the threads of the machine.
    #[must_use]
    pub fn in_workers(self, workers: usize) -> Needs {
        Needs {
            memory: self.memory.saturating_mul(workers),
            threads: self.threads.saturating_mul(workers),
            ..self
        }
    }
}

/// The number of requests that can be in flight at once, and the limit that allows no
/// more.
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
    /// Returns the capacity for requests that take `needs` each, by the limits of this
    /// machine and of this process.
    ///
    /// A quarter of each limit stays in reserve: other processes share some limits, and
    /// the host itself needs a part. Of mappings and descriptors, which a process has to itself,
    /// no more than 4,096 stay in reserve.
    pub fn of_this_machine(needs: Needs) -> Capacity {
        let mut capacity = Capacity {
            requests: MAX_REQUESTS,
            limit: format!("this program never holds more than {MAX_REQUESTS}"),
        };
        for limit in limits() {
            let taken_by_one = match limit.resource {
                Kind::Mappings => needs.mappings,
                Kind::Descriptors => needs.descriptors,
                Kind::Memory => needs.memory,
                Kind::AddressSpace => needs.address_space,
                Kind::Threads => needs.threads,
            };
            if taken_by_one == 0 {
                continue;
            }
            let free = limit.value.saturating_sub(limit.in_use);
            capacity.cap((free - limit.resource.reserve(free)) / taken_by_one, &|| {
                format!("{} is {}", limit.name, limit.value)
            });
        }
        capacity
    }

    /// Returns the number of requests that may be in flight, of which `asked` were asked for: at
    /// least 1.
    pub(crate) fn max_requests(&self, asked: Option<usize>) -> Result<usize, BuildError> {
        match asked {
            Some(asked) if asked > self.requests => {
                Err(BuildError::TooManyRequests { asked, capacity: self.clone() })
            }
            Some(asked) => Ok(asked.max(1)),
            None => Ok(self.requests),
        }
    }

    /// Lowers the number to `requests` if that is lower, and sets the limit then.
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

/// The bound for machines without limits: each thread costs kernel memory too.
const MAX_REQUESTS: usize = 100_000;

/// The kernel's default, for systems whose `/proc` does not show it: this limit always
/// exists.
const MAX_MAP_COUNT: usize = 65_530;

/// The most mappings, and the most descriptors, that stay in reserve: several times the needs of
/// the host itself, which do not grow with the number of requests.
///
/// | who | mappings | descriptors |
/// |---|---|---|
/// | a thread for each processor, with its stack, its signal stack, and the allocator's memory for it | 8 each | 3 each |
/// | threads for calls that block, 64 | 8 each | |
/// | blocks of 1 MiB and more, one for each call that runs in one of these threads | 1 each | |
/// | memory of the allocator, for each 64 MiB in use | 2 | |
/// | leaders of threads, one for each processor | | 1 each |
/// | connections that are taken at the end | | half of the reserve |
/// | connections whose header of a proxy is read | | 1,024 |
/// | listening sockets, the log, signals, granted directories, the monitor | a few | some tens |
const MAX_RESERVE: usize = 4096;

/// Returns the part of the descriptors that stays in reserve if the process may have `limit`.
pub(crate) fn descriptors_in_reserve(limit: usize) -> usize {
    Kind::Descriptors.reserve(limit)
}

/// The resource that a limit is about: a field of [`Needs`].
enum Kind {
    Mappings,
    Descriptors,
    Memory,
    AddressSpace,
    Threads,
}

impl Kind {
    /// Returns the part of `free` that stays in reserve.
    fn reserve(&self, free: usize) -> usize {
        match self {
            Kind::Mappings | Kind::Descriptors => (free / 4).min(MAX_RESERVE),
            Kind::Memory | Kind::AddressSpace | Kind::Threads => free / 4,
        }
    }
}

struct Limit {
    name: &'static str,
    resource: Kind,
    value: usize,
    in_use: usize,
}

/// Returns the limits that can be read. A limit that cannot be read does not exist
/// (`RLIM_INFINITY`), or the kernel is not Linux.
fn limits() -> Vec<Limit> {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    let rlimit =
        |resource| getrlimit(resource).current.and_then(|limit| usize::try_from(limit).ok());
    let entries = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);

    let mut limits = Vec::new();
    let mut add = |name, resource, value: Option<usize>, in_use| {
        limits.extend(value.map(|value| Limit { name, resource, value, in_use }));
    };
    let maps = fs::read("/proc/self/maps").map_or(0, |maps| maps.split(|&b| b == b'\n').count());
    let max_map_count = number("/proc/sys/vm/max_map_count").or(Some(MAX_MAP_COUNT));
    add("vm.max_map_count", Kind::Mappings, max_map_count, maps);
    add("RLIMIT_NOFILE", Kind::Descriptors, rlimit(Resource::Nofile), entries("/proc/self/fd"));
    add("RLIMIT_NPROC", Kind::Threads, rlimit(Resource::Nproc), 0);
    // The first number counts all pages of the address space.
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').next().and_then(|pages| pages.parse::<usize>().ok());
    let in_use = pages.map_or(0, |pages| pages.saturating_mul(page_size()));
    add("RLIMIT_AS", Kind::AddressSpace, rlimit(Resource::As), in_use);
    add("kernel.pid_max", Kind::Threads, number("/proc/sys/kernel/pid_max"), 0);
    add("kernel.threads-max", Kind::Threads, number("/proc/sys/kernel/threads-max"), 0);
    if let Some((max, current)) = cgroup("pids") {
        add("pids.max of the control group", Kind::Threads, Some(max), current);
    }
    add("the memory of the machine", Kind::Memory, memory_of_this_machine(), 0);
    limits
}

/// Returns the memory, in bytes, that this process can have at most: that of
/// the machine, or the limit of its control group if that is less. Returns `None` if
/// `/proc` does not show it.
pub fn memory_of_this_machine() -> Option<usize> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: usize = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let total = kilobytes.saturating_mul(1024);
    Some(cgroup("memory").map_or(total, |(max, _)| total.min(max)))
}

/// Returns the lowest limit on `resource` of the control groups (version 2) that the
/// process is in, and the part of it in use.
fn cgroup(resource: &str) -> Option<(usize, usize)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    Path::new("/sys/fs/cgroup")
        .join(group)
        .ancestors()
        .take_while(|path| path.starts_with("/sys/fs/cgroup"))
        .filter_map(|path| {
            let max = number(&path.join(format!("{resource}.max")))?;
            Some((max, number(&path.join(format!("{resource}.current"))).unwrap_or(0)))
        })
        .min_by_key(|(max, current)| max.saturating_sub(*current))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_take_more_are_fewer() {
        let cheap = Capacity::of_this_machine(Needs::THREAD);
        let dear = Capacity::of_this_machine(Needs { mappings: 5000, ..Needs::THREAD });
        assert!(dear.requests < cheap.requests, "{dear} < {cheap}");
        assert!(dear.requests >= 1);
        assert!(dear.limit.contains("vm.max_map_count"), "{dear}");
    }

    #[test]
    fn the_reserve_of_a_process_is_bounded_and_that_of_a_machine_is_a_quarter() {
        for own in [Kind::Mappings, Kind::Descriptors] {
            assert_eq!((own.reserve(1024), own.reserve(1 << 20)), (256, MAX_RESERVE));
        }
        for shared in [Kind::Memory, Kind::AddressSpace, Kind::Threads] {
            assert_eq!(shared.reserve(1 << 20), 1 << 18);
        }
    }

    #[test]
    fn descriptors_limit_the_capacity() {
        let greedy = Capacity::of_this_machine(Needs { descriptors: usize::MAX, ..Needs::THREAD });
        assert_eq!(greedy.requests, 1);
        assert!(greedy.limit.contains("RLIMIT_NOFILE"), "{greedy}");
    }
}
