//! What a guest may use.

use std::time::Duration;

use socketserver::memory_of_this_machine;

/// The limits of one request, and of all together. The guest's own wishes can
/// only lower them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Bytes of memory, over all linear memories and tables of the instance;
    /// also how many bytes it may hand over in one call. 64 MiB by default.
    pub memory: usize,
    /// Bytes of memory for all instances together. Three quarters of what the
    /// machine has by default, or 1 GiB if that cannot be found out.
    pub memory_total: usize,
    /// CPU time, from the making of the instance to its end. Time spent
    /// waiting in a host call is not CPU time. 10 s by default.
    pub cpu_time: Duration,
    /// How long the guest may wait for its client, added up, without a byte
    /// moving in either direction. 60 s by default; CPython has no such limit.
    pub idle_timeout: Duration,
    /// How long the request may take in all, however busy it and its client
    /// are. An hour by default; CPython has no such limit.
    pub wall_time: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            memory: 64 << 20,
            memory_total: memory_of_this_machine().map_or(1 << 30, |all| all - all / 4),
            cpu_time: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(1),
            wall_time: Duration::from_hours(1),
        }
    }
}

/// The most that one `recv` allocates, whatever the guest asks for. A `recv`
/// may return less than there is.
pub(crate) const MAX_RECV: usize = 256 << 10;

/// How many sockets a guest may hold, and as many again for what the table
/// needs itself.
pub(crate) const MAX_HANDLES: usize = 64;

/// The longest line of a guest that is logged, in bytes; longer ones are cut.
pub(crate) const MAX_LOG_LINE: usize = 1024;

/// How many lines one request may log; later ones are dropped.
pub(crate) const MAX_LOG_LINES: u32 = 100;

/// How many entries one table may have.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 100_000;

/// How many core instances, memories and tables one component may have.
pub(crate) const MAX_CORE_INSTANCES: u32 = 100;
/// See [`MAX_CORE_INSTANCES`].
pub(crate) const MAX_MEMORIES: u32 = 16;
/// See [`MAX_CORE_INSTANCES`].
pub(crate) const MAX_TABLES: u32 = 64;

/// The largest component that is loaded, in bytes. A Python handler has 18 MB.
pub(crate) const MAX_COMPONENT: u64 = 256 << 20;
