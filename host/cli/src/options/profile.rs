//! `--profile`, and the defaults that it sets.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use clap::builder::StyledStr;
use clap::{Arg, Args, ValueEnum};
use socketserver_jail::JailMode;
use socketserver_sandbox::{CompilerProcess, EngineSettings, Policy};

use super::values::units;

/// The profile, and the stack of a handler, which the engine must know to load it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits of a request")]
pub struct ProfileOptions {
    /// Choose defaults of limits: standard or hostile.
    #[arg(long, value_name = "PROFILE", default_value = "standard", hide_possible_values = true)]
    #[arg(long_help = "Choose the defaults of limits and isolation:\n\
        - standard: for handlers and clients that you do not know\n\
        - hostile: for handlers and clients that may be attackers. Limits are smaller. The \
        jail is required where processes are forked, and to compile the handler. The engine \
        checks bounds in a way that also holds for speculation (Spectre)\n\
        An option that is given overrides the profile. The help of each option names both \
        defaults")]
    pub profile: Profile,

    /// Limit the stack of a handler: from 64KiB to 1MiB.
    ///
    /// The stack of the main thread (`ulimit -s`) must have 1MiB more.
    #[arg(long, value_name = "SIZE", value_parser = stack, hide_short_help = true)]
    pub stack: Option<usize>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// They are unknown.
    Standard,
    /// They may be attackers.
    Hostile,
}

impl Profile {
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

/// Returns the options whose defaults the sandbox or the profile sets, by their names, with
/// the default of each.
fn defaults_of(profile: Profile) -> [(&'static str, String); 11] {
    let policy = profile.policy();
    let duration = |time| humantime::format_duration(time).to_string();
    [
        ("memory", size(policy.memory as u64)),
        ("cpu-time", duration(policy.cpu_time)),
        ("idle-timeout", duration(policy.idle_timeout)),
        ("wall-time", duration(policy.wall_time)),
        ("max-received", size(policy.max_received)),
        ("max-sent", size(policy.max_sent)),
        ("log-bytes", size(policy.log_bytes as u64)),
        ("jail", profile.jail().as_str().to_owned()),
        ("stack", size(profile.engine().stack as u64)),
        ("compile-memory", size(CompilerProcess::DEFAULT_MEMORY)),
        ("compile-time", duration(CompilerProcess::DEFAULT_TIME)),
    ]
}

/// Writes a size of whole units as the options take it, such as `64MiB`.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(bits, _)| bytes > 0 && bytes.is_multiple_of(1 << bits));
    unit.map_or(format!("{bytes}B"), |(bits, unit)| format!("{}{unit}", bytes >> bits))
}

/// Returns the options whose defaults the sandbox or the profile sets, by their names, with
/// the defaults of the profiles `standard` and `hostile`.
pub fn defaults() -> impl Iterator<Item = (&'static str, [String; 2])> {
    let pairs = defaults_of(Profile::Standard).into_iter().zip(defaults_of(Profile::Hostile));
    pairs.map(|((option, standard), (_, hostile))| (option, [standard, hostile]))
}

/// Adds the defaults of both profiles to the help of an option.
pub fn add_defaults(arg: Arg) -> Arg {
    let mut defaults = defaults();
    let name = arg.get_long().unwrap_or_default();
    let Some((_, [standard, hostile])) = defaults.find(|(option, _)| *option == name) else {
        return arg;
    };
    let defaults = if standard == hostile {
        format!("[default: {standard}]")
    } else {
        format!("[default: {standard}; hostile: {hostile}]")
    };
    let text = |help: Option<&StyledStr>| help.map(ToString::to_string);
    let short = text(arg.get_help()).unwrap_or_default();
    let long = text(arg.get_long_help()).unwrap_or_else(|| short.clone());
    arg.help(format!("{short} {defaults}")).long_help(format!("{long}\n\n{defaults}"))
}
