//! The start of the broker: the process that opens sockets for handlers in the jail.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use socketserver::Concurrency;
use socketserver_sandbox::{Broker, NetworkGrants};

use crate::settings::Settings;
use crate::values::owner::Identity;

/// The longest time until the broker serves. It loads libraries and enters its jail.
const LONGEST_START: Duration = Duration::from_secs(30);

/// Starts the broker of a server with these settings, and waits until it serves.
///
/// # Errors
///
/// The process cannot be started, or has no jail as it is required.
pub fn start(settings: &Settings) -> Result<Arc<Broker>> {
    let (own, other) = Broker::door().context("cannot make the door of the broker")?;
    #[allow(clippy::zombie_processes, reason = "the broker ends after this process")]
    Command::new("/proc/self/exe")
        .args(arguments(settings))
        .stdin(other)
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start the broker")?;
    let broker = Broker::when_it_serves(own, LONGEST_START);
    Ok(Arc::new(broker.context("the broker, which opens sockets for handlers, did not start")?))
}

fn arguments(settings: &Settings) -> Vec<OsString> {
    let NetworkGrants { connect, listen, resolve, raw } = &settings.policy.network;
    let workers = match &settings.concurrency {
        Concurrency::Workers(workers) => workers.count,
        _ => 1,
    };
    let log = &settings.log;
    let mut arguments = vec![
        "broker".to_owned(),
        format!("--sockets={}", settings.policy.sockets),
        format!("--connects={}", settings.policy.connects),
        format!("--workers={workers}"),
        format!("--jail={}", settings.jail),
        format!("--log-format={}", log.format.as_str()),
        format!("--log-level={}", crate::options::level_word(log.level)),
        format!("--log-rate={}", log.rate),
    ];
    if let Some(Identity { user, group }) = settings.user {
        arguments.push(format!("--user={user}:{group}"));
    }
    arguments.extend(connect.iter().map(|grant| format!("--connect={}", grant.to_text())));
    arguments.extend(listen.iter().map(|grant| format!("--listen-grant={}", grant.to_text())));
    arguments.extend(resolve.iter().map(|name| format!("--resolve={name}")));
    arguments.extend(raw.then(|| "--raw".to_owned()));
    arguments.into_iter().map(OsString::from).collect()
}
