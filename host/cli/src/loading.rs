//! The loading of a handler: the engine, the compiler and the cache.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use rustix::process::{Resource, getrlimit};
use socketserver_jail::JailMode;
use socketserver_sandbox::{Cache, Compiler, CompilerProcess, EngineSettings, Loader};

/// The stack that the host needs beside that of a guest, in bytes: the same number that the
/// threads of `socketserver` have beside the largest stack of a guest.
const HOST_STACK: u64 = 1 << 20;

/// The settings for loading a handler.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    /// The settings of the engine.
    pub engine: EngineSettings,
    /// The memory of the compiler, in bytes.
    pub compile_memory: u64,
    /// The CPU time of the compiler.
    pub compile_time: Duration,
    /// The jail of the compiler.
    pub compile_jail: JailMode,
    /// True if compiled handlers are kept.
    pub cache: bool,
}

impl Default for LoadSettings {
    fn default() -> Self {
        LoadSettings {
            engine: EngineSettings::default(),
            compile_memory: CompilerProcess::DEFAULT_MEMORY,
            compile_time: CompilerProcess::DEFAULT_TIME,
            compile_jail: JailMode::Try,
            cache: true,
        }
    }
}

impl LoadSettings {
    /// Returns the settings of the engine.
    ///
    /// # Errors
    ///
    /// The main thread of this process has less stack than a guest and the host need. It runs
    /// guests in sync and in forked processes, and the preflight in every mode. A guest
    /// that reached the end of the stack would end the process.
    pub fn engine(&self) -> Result<EngineSettings> {
        let stack = self.engine.stack as u64;
        let needed = stack + HOST_STACK;
        if let Some(has) = getrlimit(Resource::Stack).current.filter(|has| *has < needed) {
            bail!(
                "the stack of this process may have {} KiB, and --stack {} KiB needs {} KiB: raise the limit with `ulimit -s`, or lower --stack",
                has >> 10,
                stack >> 10,
                needed >> 10
            );
        }
        Ok(self.engine)
    }

    /// Returns the longest time that loading takes.
    pub fn longest(&self) -> Duration {
        self.compile_time.saturating_mul(CompilerProcess::WALL_TIME_FACTOR)
    }

    /// Returns a loader that compiles in a process of this program.
    pub fn loader(&self) -> Loader {
        let (memory, seconds) = self.compiler_limits();
        let arguments = [
            "compile".to_owned(),
            format!("--memory={memory}"),
            format!("--seconds={seconds}"),
            format!("--bounds-checks={}", self.engine.bounds_checks.as_str()),
            format!("--jail={}", self.compile_jail.as_str()),
        ];
        Loader {
            cache: if self.cache { user_cache() } else { Cache::disabled() },
            compiler: Compiler::Process(CompilerProcess {
                // This path leads to this program also if its file has been replaced.
                program: "/proc/self/exe".into(),
                arguments: arguments.map(OsString::from).into(),
                memory,
                time: Duration::from_secs(seconds),
            }),
            component_size: Loader::DEFAULT_COMPONENT_SIZE,
        }
    }

    /// Returns the memory and the seconds of CPU time of the compiler. A process cannot have
    /// more than its parent may (`ulimit`).
    fn compiler_limits(&self) -> (u64, u64) {
        let most = |resource| getrlimit(resource).maximum.unwrap_or(u64::MAX);
        // The kernel sends a signal at the limit, and ends the process a second later.
        let seconds = most(Resource::Cpu).saturating_sub(1).max(1);
        (self.compile_memory.min(most(Resource::As)), self.compile_time.as_secs().min(seconds))
    }
}

/// Returns the cache of the user. If there is none, logs a warning and returns no cache.
fn user_cache() -> Cache {
    Cache::open_user().unwrap_or_else(|error| {
        tracing::warn!("handlers are compiled at each start: {:#}", anyhow!(error));
        Cache::disabled()
    })
}
