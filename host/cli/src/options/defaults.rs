//! The defaults of options, in their help. The sandbox, the profile and the settings have them.

use clap::Arg;
use clap::builder::StyledStr;
use socketserver::{Forking, ProxyProtocol, Threading, TlsSettings};
use socketserver_sandbox::CompilerProcess;

use super::profile::Profile;
use super::words::name_of_level;
use crate::settings::Settings;

/// Returns the options whose defaults the sandbox or the profile sets, by their names, with
/// the default of each.
fn defaults_in(profile: Profile) -> [(&'static str, String); 13] {
    let policy = profile.policy();
    let duration = |time| humantime::format_duration(time).to_string();
    [
        ("memory", size(policy.memory as u64)),
        ("cpu-time", duration(policy.cpu_time)),
        ("idle-timeout", duration(policy.idle_timeout)),
        ("wall-time", duration(policy.wall_time)),
        ("max-received", size(policy.max_received)),
        ("max-sent", size(policy.max_sent)),
        ("sockets", policy.sockets.to_string()),
        ("connects", policy.connects.to_string()),
        ("log-bytes", size(policy.log_bytes as u64)),
        ("jail", profile.jail().as_str().to_owned()),
        ("stack", size(profile.engine().stack as u64)),
        ("compile-memory", size(CompilerProcess::DEFAULT_MEMORY)),
        ("compile-time", duration(CompilerProcess::DEFAULT_TIME)),
    ]
}

/// Returns the other options that have a default, by their names, with the default of each.
fn other_defaults() -> [(&'static str, String); 20] {
    let Settings { policy, sockets, concurrency, poll_interval, shutdown, log, .. } =
        Settings::default();
    let threading = Threading::new();
    [
        ("concurrency", concurrency.kind().as_str().to_owned()),
        ("grace", humantime::format_duration(shutdown.grace).to_string()),
        ("profile", Profile::default().as_str().to_owned()),
        ("on-kill", policy.on_kill.as_str().to_owned()),
        ("log-format", log.format.as_str().to_owned()),
        ("log-level", name_of_level(log.level).to_owned()),
        ("access-log", log.access.as_str().to_owned()),
        ("log-rate", log.rate.to_string()),
        ("remove-stale-socket", sockets.remove_stale_socket.to_string()),
        ("request-queue-size", sockets.request_queue_size.to_string()),
        ("allow-reuse-port", sockets.allow_reuse_port.to_string()),
        ("max-packet-size", sockets.max_packet_size.to_string()),
        ("daemon-threads", threading.daemon_threads.to_string()),
        ("block-on-close", threading.block_on_close.to_string()),
        ("max-children", Forking::new().max_children.to_string()),
        ("proxy-timeout", humantime::format_duration(ProxyProtocol::TIMEOUT).to_string()),
        ("tls-client-auth", "require".to_owned()),
        ("tls-min-version", "1.2".to_owned()),
        (
            "tls-handshake-timeout",
            humantime::format_duration(TlsSettings::HANDSHAKE_TIMEOUT).to_string(),
        ),
        ("poll-interval", poll_interval.as_secs_f64().to_string()),
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
pub fn profile_defaults() -> impl Iterator<Item = (&'static str, [String; 2])> {
    let pairs = defaults_in(Profile::Standard).into_iter().zip(defaults_in(Profile::Hostile));
    pairs.map(|((option, standard), (_, hostile))| (option, [standard, hostile]))
}

/// Returns the options that have a default, by their names, with the default as the help shows
/// it.
pub fn shown_defaults() -> Vec<(&'static str, String)> {
    let of_profiles = profile_defaults().map(|(option, [standard, hostile])| {
        let default = if standard == hostile {
            format!("[default: {standard}]")
        } else {
            format!("[default: {standard}; hostile: {hostile}]")
        };
        (option, default)
    });
    let others = other_defaults().into_iter();
    of_profiles.chain(others.map(|(option, text)| (option, format!("[default: {text}]")))).collect()
}

/// Adds its default, which is one of `defaults`, to the help of an option.
pub fn add_default(arg: Arg, defaults: &[(&str, String)]) -> Arg {
    let name = arg.get_long().unwrap_or_default();
    let Some((_, default)) = defaults.iter().find(|(option, _)| *option == name) else {
        return arg;
    };
    let text = |help: Option<&StyledStr>| help.map(ToString::to_string);
    let short = text(arg.get_help()).unwrap_or_default();
    let long = text(arg.get_long_help()).unwrap_or_else(|| short.clone());
    arg.help(format!("{short} {default}")).long_help(format!("{long}\n\n{default}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::definition;

    #[test]
    fn each_option_with_a_default_exists() {
        let definition = definition();
        let serve = definition.find_subcommand("serve").unwrap();
        let names: Vec<_> = serve.get_arguments().filter_map(Arg::get_long).collect();
        for (option, _) in shown_defaults() {
            assert!(names.contains(&option), "{option}");
        }
    }

    /// A default of clap's would look as if it had been given, and override other sources.
    #[test]
    fn no_option_has_a_default_of_clap() {
        let definition = definition();
        for name in ["serve", "inspect"] {
            let command = definition.find_subcommand(name).unwrap();
            for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
                assert!(arg.get_default_values().is_empty(), "{}", arg.get_id());
            }
        }
    }
}
