//! The options of loading a handler: what it may cost before it is served.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use rustix::process::{Resource, getrlimit};
use socketserver_sandbox::{
    BoundsChecks, Cache, Compiler, CompilerProcess, Engine, EngineSettings, Loader,
};

use crate::args::JailMode;
use crate::profile::Profile;
use crate::units;

/// How much stack the host needs itself beside that of a guest, in bytes: what the
/// threads of `socketserver` have beside the largest stack of a guest.
const HOST_STACK: u64 = 1 << 20;

/// What loading a handler may cost, and what the engine is like.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Loading")]
pub struct Loading {
    /// What the options are that are not given. With `hostile`, --memory is 16MiB,
    /// --cpu-time 1s, --idle-timeout 10s, --wall-time 1m, --max-received and
    /// --max-sent 64MiB, --handles 64, --log-bytes 8KiB, and --jail is `require` where
    /// processes are forked. It also compiles handlers with explicit bounds
    /// checks (against Spectre), and not without a jail.
    #[arg(long, value_name = "PROFILE", default_value = "standard")]
    pub profile: Profile,

    /// How much stack a handler may use: from 64KiB to 1MiB.
    #[arg(long, value_name = "SIZE", default_value = "512KiB", value_parser = stack)]
    pub stack: usize,

    /// How large the file of a handler may be.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = units::bytes)]
    pub component_size: u64,

    /// How much memory compiling a handler may take: its address space, at least
    /// 256MiB.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = units::compile_memory)]
    pub compile_memory: u64,

    /// How much CPU time compiling a handler may take, in whole seconds; it is
    /// stopped after ten times that in any case.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::whole_seconds)]
    pub compile_time: Duration,

    /// Compile the handler anew, and do not keep the result in the user's cache
    /// directory.
    #[arg(long)]
    pub no_cache: bool,
}

impl Loading {
    /// What the engine is like.
    ///
    /// Errors: the main thread of this process has not as much stack. It runs
    /// guests in sync and in forked processes, and in each mode the instance that
    /// is made at load. Beyond its stack the process would be ended, and not the
    /// guest.
    pub fn settings(&self) -> Result<EngineSettings> {
        let needed = self.stack as u64 + HOST_STACK;
        if let Some(has) = getrlimit(Resource::Stack).current.filter(|has| *has < needed) {
            bail!(
                "the stack of this process may have {} KiB, and --stack {} KiB needs {} KiB: raise the limit with `ulimit -s`, or ask for less",
                has >> 10,
                self.stack >> 10,
                needed >> 10
            );
        }
        let bounds_checks = self.profile.defaults().bounds_checks;
        Ok(EngineSettings { stack: self.stack, bounds_checks })
    }

    /// How the handler is loaded: compiled by this program, in another process.
    /// `jail` is that of the processes that serve.
    pub fn loader(&self, jail: JailMode) -> Loader {
        let jail = match (jail, self.profile.defaults().compiling) {
            (JailMode::Require, _) | (_, JailMode::Require) => "require",
            _ => "try",
        };
        let checks = self.profile.defaults().bounds_checks;
        let (memory, seconds) = self.compiler_limits();
        let arguments = [
            "compile".to_owned(),
            format!("--memory={memory}"),
            format!("--seconds={seconds}"),
            format!("--bounds-checks={}", checks.as_str()),
            format!("--jail={jail}"),
        ];
        Loader {
            cache: cache(self.no_cache),
            compiler: Compiler::Process(CompilerProcess {
                // Also where the file has been replaced meanwhile.
                program: "/proc/self/exe".into(),
                arguments: arguments.map(OsString::from).into(),
                memory,
                time: Duration::from_secs(seconds),
            }),
            component_size: self.component_size,
        }
    }

    /// The memory, and the seconds of CPU time, that compiling may take. What this
    /// process may not have (`ulimit`), one that it starts cannot give itself.
    fn compiler_limits(&self) -> (u64, u64) {
        let most = |resource| getrlimit(resource).maximum.unwrap_or(u64::MAX);
        // A second before the last one it is told why it ends.
        let seconds = most(Resource::Cpu).saturating_sub(1).max(1);
        (self.compile_memory.min(most(Resource::As)), self.compile_time.as_secs().min(seconds))
    }

    /// An engine that only compiles, with what the command line of `compile` says.
    pub fn engine_for(bounds_checks: BoundsChecks) -> Result<Engine> {
        Ok(Engine::for_compiling(&EngineSettings { bounds_checks, ..EngineSettings::default() })?)
    }
}

/// Parses a size, as [`units::size`] does, for the stack of a guest.
fn stack(text: &str) -> Result<usize, String> {
    let size = units::size(text)?;
    if !EngineSettings::STACKS.contains(&size) {
        return Err("a guest has at least 64KiB and at most 1MiB of stack".to_owned());
    }
    Ok(size)
}

/// The cache of the user, or none, with a warning, if that is not to be had.
fn cache(no_cache: bool) -> Cache {
    if no_cache {
        return Cache::none();
    }
    Cache::of_user().unwrap_or_else(|error| {
        tracing::warn!("handlers are compiled at each start: {:#}", anyhow!(error));
        Cache::none()
    })
}
