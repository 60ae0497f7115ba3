//! The limits of requests, and their defaults.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use socketserver::memory_of_this_machine;
use thiserror::Error;

use crate::network_grants::NetworkGrants;

/// The limits of one request, and the limits of all requests together. A guest can only
/// lower them.
///
/// The defaults stand here and nowhere else: [`Policy::default`] has those of the profile
/// `standard`, [`Policy::hostile`] those of the profile `hostile`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Bytes of host memory for one instance: its linear memories, its tables, and what the
    /// engine keeps for it.
    pub memory: usize,
    /// Bytes of host memory for all instances together. The default is three quarters of
    /// the machine's memory, or 1 GiB if the size of that is not known.
    pub memory_total: usize,
    /// CPU time of a request, from the creation of the instance to its end. Time in which a
    /// host call waits is not CPU time.
    pub cpu_time: Duration,
    /// The time that a guest may wait for its client in all while no byte moves in either
    /// direction. CPython has no such limit.
    pub idle_timeout: Duration,
    /// The time that a request may take in all, however busy it and its client are. CPython
    /// has no such limit.
    pub wall_time: Duration,
    /// Bytes that a request may receive. CPython has no such limit. The datagram of a
    /// datagram request does not count.
    pub max_received: u64,
    /// Bytes that a request may send. CPython has no such limit.
    pub max_sent: u64,
    /// Bytes that the host allocates for one host call, such as the data that `recv`
    /// returns, whatever size the guest asks for. The host does not copy the data that a
    /// guest passes, except for an error that it returns; such data is never larger than
    /// the guest's `memory`.
    pub call_memory: usize,
    /// Handles that the guest may hold to resources of the host, and as many again to
    /// resources of its own.
    pub handles: usize,
    /// Bytes that a request may log. The host drops what a guest logs beyond that. A line
    /// counts as at least [`MIN_LOG_LINE`](Self::MIN_LOG_LINE) bytes.
    pub log_bytes: usize,
    /// The way in which the host closes the connection of a request that trapped or reached a
    /// limit.
    pub on_kill: OnKill,
    /// The environment variables that the guest sees, as names and values.
    pub env: Vec<(String, String)>,
    /// The arguments that the guest sees after the name of the handler.
    pub args: Vec<String>,
    /// The directories that the guest may use.
    pub dirs: Vec<Dir>,
    /// The sockets that the guest may open.
    pub network: NetworkGrants,
    /// Sockets that a request may have open at once, beside its own.
    pub sockets: usize,
    /// Connections that a request may make or accept, and attempts to make one.
    pub connects: u32,
}

impl Policy {
    /// The number of bytes that an empty line in the log counts as: about the size of the
    /// fields that the log adds to it.
    pub const MIN_LOG_LINE: usize = 64;

    /// Returns the defaults for hostile handlers and clients, the profile `hostile`. It
    /// belongs together with [`EngineSettings::hostile`](crate::EngineSettings::hostile).
    pub fn hostile() -> Self {
        Policy {
            memory: 16 << 20,
            cpu_time: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(10),
            wall_time: Duration::from_mins(1),
            max_received: 64 << 20,
            max_sent: 64 << 20,
            handles: 64,
            sockets: 4,
            connects: 16,
            log_bytes: 8 << 10,
            ..Policy::default()
        }
    }
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
            on_kill: OnKill::Close,
            env: Vec::new(),
            args: Vec::new(),
            dirs: Vec::new(),
            network: NetworkGrants::default(),
            sockets: 16,
            connects: 256,
        }
    }
}

/// A directory of the host that a handler may use, with everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dir {
    /// The path on the host. The directory is opened when the handler is loaded, and stays
    /// open.
    pub host: PathBuf,
    /// The path that the handler uses, such as `/data`.
    pub guest: String,
    /// Set if the handler may change the directory. No limit holds for how much it writes:
    /// use a quota of the file system.
    pub writable: bool,
}

/// The way in which the host closes the connection of a request that trapped or reached a
/// limit. The log says why the host ended the request; the client learns neither that nor the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnKill {
    /// Closes it like any other connection. The client cannot tell it from a short
    /// response.
    #[default]
    Close,
    /// Resets it, so that the client does not take a part of a response for the whole.
    /// Unix sockets and datagrams have no reset.
    Reset,
}

impl OnKill {
    /// All values.
    pub const ALL: &[OnKill] = &[OnKill::Close, OnKill::Reset];

    /// Returns the word for it, such as `reset`.
    pub const fn as_str(self) -> &'static str {
        match self {
            OnKill::Close => "close",
            OnKill::Reset => "reset",
        }
    }
}

impl fmt::Display for OnKill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OnKill {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        OnKill::ALL.iter().copied().find(|value| value.as_str() == word).ok_or(UnknownWord)
    }
}

/// A word that stands for no value of the type that it was parsed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("there is no such value")]
pub struct UnknownWord;

/// The number of directories that a guest may be granted: each takes a handle.
pub(crate) const MAX_DIRS: usize = 16;

/// The most data that a guest passes in one call, in bytes. The host copies text that is
/// not UTF-8 before it can check it.
pub(crate) const MAX_CALL_DATA: usize = 16 << 20;

/// The longest error that a guest may return, in bytes. The host copies it before it can
/// check it, and the copy counts as memory of no instance.
pub(crate) const MAX_ERROR: usize = 1 << 20;

/// The longest line of a guest in the log, in bytes. The host cuts longer ones.
pub(crate) const MAX_LOG_LINE: usize = 1024;

/// The number of entries that one table may have.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 100_000;

/// The number of core instances that one component may have.
pub(crate) const MAX_CORE_INSTANCES: u32 = 100;
/// The number of linear memories that one component may have.
pub(crate) const MAX_MEMORIES: u32 = 16;
/// The number of tables that one component may have.
pub(crate) const MAX_TABLES: u32 = 64;

/// The most memory that the engine may keep for an instance beside its memories, tables and
/// handles, in bytes.
pub(crate) const MAX_ENGINE_MEMORY: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_parses_as_its_value() {
        for value in OnKill::ALL {
            assert_eq!(value.as_str().parse(), Ok(*value));
        }
        assert_eq!("closed".parse::<OnKill>(), Err(UnknownWord));
    }

    #[test]
    fn the_hostile_profile_allows_no_more_than_the_standard_one() {
        let (hostile, standard) = (Policy::hostile(), Policy::default());
        assert!(hostile.memory < standard.memory && hostile.handles < standard.handles);
        assert!(hostile.cpu_time < standard.cpu_time && hostile.wall_time < standard.wall_time);
        assert!(hostile.idle_timeout < standard.idle_timeout);
        assert!(hostile.log_bytes < standard.log_bytes);
        assert!(hostile.max_received < standard.max_received);
        assert!(hostile.max_sent < standard.max_sent);
        assert!(hostile.sockets < standard.sockets && hostile.connects < standard.connects);
    }
}
