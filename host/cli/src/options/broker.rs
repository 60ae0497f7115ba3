//! Options of the hidden command that opens sockets for processes in the jail.

use clap::Args;
use socketserver_jail::JailMode;

use super::{GrantOptions, LogOptions, words};
use crate::values::owner::{self, Identity};

/// The grants of the broker, its limits and its own jail.
#[derive(Debug, Clone, Args)]
pub struct BrokerOptions {
    /// The sockets that it opens.
    #[command(flatten)]
    pub grants: GrantOptions,
    /// Limit the sockets of a request.
    #[arg(long)]
    pub sockets: usize,
    /// Limit the attempts to connect of a request.
    #[arg(long)]
    pub connects: u32,
    /// The number of workers that share it.
    #[arg(long)]
    pub workers: usize,
    /// Enter the jail in this mode.
    #[arg(long, value_parser = words::jail())]
    pub jail: JailMode,
    /// Become this user.
    #[arg(long, value_parser = owner::identity)]
    pub user: Option<Identity>,
    /// The log.
    #[command(flatten)]
    pub log: LogOptions,
}
