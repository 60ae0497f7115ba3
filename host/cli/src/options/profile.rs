//! `--profile`, and the stack of a handler.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use clap::Args;
use socketserver_jail::JailMode;
use socketserver_sandbox::{EngineSettings, Policy};

use super::words;
use crate::values::units;

/// The profile, and the stack of a handler, which the engine must know to load it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits of a request")]
pub struct ProfileOptions {
    /// Choose defaults of limits: standard or hostile.
    #[arg(
        long,
        value_name = "PROFILE",
        value_parser = words::profile(),
        hide_possible_values = true
    )]
    #[arg(long_help = "Choose the defaults of limits and isolation:\n\
        - standard: for handlers and clients that you do not know\n\
        - hostile: for handlers and clients that may be attackers. Limits are smaller. The \
        jail is required where processes are forked, and to compile the handler. The engine \
        checks bounds in a way that also holds for speculation (Spectre)\n\
        An option that is given overrides the profile. The help of an option names its default \
        in each profile if the two differ")]
    pub profile: Option<Profile>,

    /// Limit the stack of a handler: from 64KiB to 1MiB.
    ///
    /// The stack of the main thread (`ulimit -s`) must have 1MiB more.
    #[arg(long, value_name = "SIZE", value_parser = stack, hide_short_help = true)]
    pub stack: Option<usize>,
}

impl ProfileOptions {
    /// Returns the profile that is given, or the default.
    pub fn profile(&self) -> Profile {
        self.profile.unwrap_or_default()
    }
}

/// Parses the stack of a handler.
fn stack(text: &str) -> Result<usize, String> {
    let size = units::size(text)?;
    if !EngineSettings::STACKS.contains(&size) {
        return Err("a guest has at least 64KiB and at most 1MiB of stack".to_owned());
    }
    Ok(size)
}

/// The trust in handlers and clients, which sets the defaults of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// They are unknown.
    #[default]
    Standard,
    /// They may be attackers.
    Hostile,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Profile; 2] = [Profile::Standard, Profile::Hostile];

    /// Returns the word for the profile, as options write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Standard => "standard",
            Profile::Hostile => "hostile",
        }
    }

    /// Returns the limits of requests.
    pub fn policy(self) -> Policy {
        match self {
            Profile::Standard => Policy::default(),
            Profile::Hostile => Policy::hostile(),
        }
    }

    /// Returns the settings of the engine.
    pub fn engine(self) -> EngineSettings {
        match self {
            Profile::Standard => EngineSettings::default(),
            Profile::Hostile => EngineSettings::hostile(),
        }
    }

    /// Returns the jail of forked processes, and of the process that compiles.
    pub fn jail(self) -> JailMode {
        match self {
            Profile::Standard => JailMode::Try,
            Profile::Hostile => JailMode::Require,
        }
    }
}
