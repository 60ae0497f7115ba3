//! What a guest may use.

use std::time::Duration;

use socketserver::memory_of_this_machine;

use crate::grants::Dir;

/// The limits of one request, and of all together. The guest's own wishes can
/// only lower them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Bytes of memory, over all linear memories and tables of the instance and what
    /// the engine keeps for it beside them. 64 MiB by default.
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
    /// Bytes that the request may receive. 1 GiB by default; CPython has no such
    /// limit. A datagram is there already.
    pub max_received: u64,
    /// Bytes that the request may send. 1 GiB by default; CPython has no such
    /// limit.
    pub max_sent: u64,
    /// Bytes that one call allocates in the host at the most: what a `recv` or the
    /// like returns, whatever the guest asks for. 256 KiB by default. What the
    /// guest hands over is not copied, but for the error that it returns, and
    /// cannot be more than its `memory`.
    pub call_memory: usize,
    /// How many handles the guest may hold, to what the host gave it, and as many
    /// again to resources of its own. 256 by default.
    pub handles: usize,
    /// Bytes that the guest may log; what it logs later is dropped. A line counts
    /// as [`MIN_LOG_LINE`](Self::MIN_LOG_LINE) bytes at least. 64 KiB by default.
    pub log_bytes: usize,
    /// What the client of a request sees that was ended, because it trapped or
    /// reached a limit. Its end by default.
    pub killed: Killed,
    /// The environment that the guest sees, names and values. Empty by default.
    pub env: Vec<(String, String)>,
    /// The directories that the guest may use. None by default.
    pub dirs: Vec<Dir>,
}

/// How a connection is closed whose handler was ended. That a handler was ended,
/// and why, is for the log: a client is told neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Killed {
    /// As any other: the client cannot tell it from a short answer.
    #[default]
    Close,
    /// With a reset, so that a client does not take a part for the whole. Unix
    /// sockets and datagrams know no such thing.
    Reset,
}

impl Policy {
    /// What an empty line counts as that is logged, in bytes: about what the log
    /// writes around it.
    pub const MIN_LOG_LINE: usize = 64;
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            memory: 64 << 20,
            memory_total: memory_of_this_machine().map_or(1 << 30, |all| all - all / 4),
            cpu_time: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(1),
            wall_time: Duration::from_hours(1),
            max_received: 1 << 30,
            max_sent: 1 << 30,
            call_memory: 256 << 10,
            handles: 256,
            log_bytes: 64 << 10,
            killed: Killed::Close,
            env: Vec::new(),
            dirs: Vec::new(),
        }
    }
}

/// How many directories a guest may be granted: each takes a handle.
pub(crate) const MAX_DIRS: usize = 16;

/// The most that a guest hands over in one call, in bytes. The host copies text that
/// is not UTF-8 before it can look at it.
pub(crate) const MAX_CALL_DATA: usize = 16 << 20;

/// The longest error that a guest may return, in bytes: it is copied before it can
/// be looked at, and counts as nobody's memory.
pub(crate) const MAX_ERROR: usize = 1 << 20;

/// The longest line of a guest that is logged, in bytes; longer ones are cut.
pub(crate) const MAX_LOG_LINE: usize = 1024;

/// How many entries one table may have.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 100_000;

/// How many core instances, memories and tables one component may have.
pub(crate) const MAX_CORE_INSTANCES: u32 = 100;
/// See [`MAX_CORE_INSTANCES`].
pub(crate) const MAX_MEMORIES: u32 = 16;
/// See [`MAX_CORE_INSTANCES`].
pub(crate) const MAX_TABLES: u32 = 64;

/// The most that the engine may keep for an instance beside its memories, tables and
/// handles, in bytes.
pub(crate) const MAX_ENGINE_MEMORY: u64 = 1 << 20;

/// The largest component that is loaded, in bytes. A Python handler has 18 MB.
pub(crate) const MAX_COMPONENT: u64 = 256 << 20;
