//! The options that bound what one request moves, holds and logs.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, value_parser};
use socketserver_sandbox::{OnKill, Policy};

use crate::profile::Defaults;
use crate::units;

/// What one request may move, hold and log, and how its client sees that it was
/// ended.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What one request may use besides")]
pub struct Budget {
    /// How many bytes one request may receive. 1GiB by default, 64MiB with --profile
    /// hostile.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub max_received: Option<u64>,

    /// How many bytes one request may send. 1GiB by default, 64MiB with --profile
    /// hostile.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub max_sent: Option<u64>,

    /// How much the host allocates for one call of a handler: a recv returns no
    /// more at once, whatever it asks for.
    #[arg(long, value_name = "SIZE", default_value = "256KiB", value_parser = units::call_memory)]
    pub call_memory: usize,

    /// How many handles a handler may hold at once: sockets, files, streams, and
    /// as many again of its own making. 256 by default, 64 with --profile hostile.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(8..=65_536))]
    pub handles: Option<u32>,

    /// How many bytes one request may log; the rest is dropped. 64KiB by default,
    /// 8KiB with --profile hostile.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub log_bytes: Option<u64>,

    /// How the connection of a request is closed that was ended, because its
    /// handler trapped or a limit was reached. The client is never told why; a
    /// reset tells it that what it got is not all.
    #[arg(long, value_name = "HOW", default_value_t, value_parser = on_kill())]
    pub killed: OnKill,
}

/// Returns the parser of `--killed`.
fn on_kill() -> impl TypedValueParser<Value = OnKill> {
    PossibleValuesParser::new(OnKill::ALL.iter().map(|value| value.as_str()))
        .try_map(|word| word.parse::<OnKill>())
}

impl Budget {
    /// A policy with these limits, or those of a profile.
    pub fn policy(&self, defaults: &Defaults) -> Policy {
        let log_bytes = self.log_bytes.unwrap_or(defaults.log_bytes);
        Policy {
            max_received: self.max_received.unwrap_or(defaults.max_moved),
            max_sent: self.max_sent.unwrap_or(defaults.max_moved),
            call_memory: self.call_memory,
            handles: self.handles.unwrap_or(defaults.handles) as usize,
            log_bytes: usize::try_from(log_bytes).unwrap_or(usize::MAX),
            on_kill: self.killed,
            ..Policy::default()
        }
    }
}
