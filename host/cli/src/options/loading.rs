//! Options for loading the handler.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::time::Duration;

use clap::Args;
use socketserver_jail::JailMode;
use socketserver_sandbox::EngineSettings;

use super::ProfileOptions;
use crate::loading::LoadSettings;
use crate::values::units;

/// The cost of compiling the handler, which a process of its own does.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Compiling the handler")]
pub struct LoadingOptions {
    /// Limit the memory of the compiler: its address space, at least 256MiB.
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = units::compile_memory,
        hide_short_help = true
    )]
    pub compile_memory: Option<u64>,

    /// Limit the CPU time of the compiler, in whole seconds.
    ///
    /// After ten times that it is stopped in any case.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = units::whole_seconds,
        hide_short_help = true
    )]
    pub compile_time: Option<Duration>,

    /// Compile the handler anew, and do not keep the result.
    ///
    /// By default the result is kept in the user's cache directory.
    #[arg(long)]
    pub no_cache: bool,
}

impl LoadingOptions {
    /// Returns the settings for a handler that will be served in `jail`.
    pub fn settings(&self, profile: &ProfileOptions, jail: JailMode) -> LoadSettings {
        // The compiler is in a jail in any case.
        let compile_jail = match (jail, profile.profile().jail()) {
            (JailMode::Require, _) | (_, JailMode::Require) => JailMode::Require,
            _ => JailMode::Try,
        };
        let (default, engine) = (LoadSettings::default(), profile.profile().engine());
        LoadSettings {
            engine: EngineSettings { stack: profile.stack.unwrap_or(engine.stack), ..engine },
            compile_memory: self.compile_memory.unwrap_or(default.compile_memory),
            compile_time: self.compile_time.unwrap_or(default.compile_time),
            compile_jail,
            cache: !self.no_cache,
        }
    }
}
