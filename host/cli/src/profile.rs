//! `--profile`: what the options are that nobody gave.

use std::time::Duration;

use clap::ValueEnum;
use socketserver_sandbox::BoundsChecks;

use crate::args::JailMode;
use crate::mode::Mode;

/// Whom the handler and its clients are thought to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Strangers.
    Standard,
    /// Enemies: with explicit bounds checks, against Spectre, and with smaller
    /// limits; in a jail where processes are forked, and compiled in one.
    Hostile,
}

/// The defaults that a profile sets. `--help` says them too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// `--memory`
    pub memory: usize,
    /// `--cpu-time`
    pub cpu_time: Duration,
    /// `--idle-timeout`
    pub idle_timeout: Duration,
    /// `--wall-time`
    pub wall_time: Duration,
    /// `--max-received` and `--max-sent`
    pub max_moved: u64,
    /// `--handles`
    pub handles: u32,
    /// `--log-bytes`
    pub log_bytes: u64,
    /// `--jail`, where processes are forked.
    pub jail: JailMode,
    /// The jail of the process that compiles.
    pub compiling: JailMode,
    /// How a guest is held to its memory.
    pub bounds_checks: BoundsChecks,
}

const STANDARD: Defaults = Defaults {
    memory: 64 << 20,
    cpu_time: Duration::from_secs(10),
    idle_timeout: Duration::from_mins(1),
    wall_time: Duration::from_hours(1),
    max_moved: 1 << 30,
    handles: 256,
    log_bytes: 64 << 10,
    jail: JailMode::Try,
    compiling: JailMode::Try,
    bounds_checks: BoundsChecks::Guarded,
};

const HOSTILE: Defaults = Defaults {
    memory: 16 << 20,
    cpu_time: Duration::from_secs(1),
    idle_timeout: Duration::from_secs(10),
    wall_time: Duration::from_mins(1),
    max_moved: 64 << 20,
    handles: 64,
    log_bytes: 8 << 10,
    jail: JailMode::Require,
    compiling: JailMode::Require,
    bounds_checks: BoundsChecks::Explicit,
};

impl Profile {
    /// What it sets.
    pub fn defaults(self) -> &'static Defaults {
        match self {
            Profile::Standard => &STANDARD,
            Profile::Hostile => &HOSTILE,
        }
    }

    /// The jail of processes that serve, if `asked` was given or not.
    pub fn jail(self, asked: Option<JailMode>, mode: Mode) -> JailMode {
        asked.unwrap_or(if mode.forks() { self.defaults().jail } else { JailMode::Off })
    }
}
