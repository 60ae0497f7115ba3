//! The options that are Python's class attributes, and those of socket files.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::time::Duration;

use clap::{ArgAction, Args, value_parser};
use socketserver::ServerBuilder;

use crate::owner::{self, Owner};
use crate::units;

/// The largest datagram that may be asked for: Linux has none that is larger
/// unless it was told to.
const LARGEST_PACKET: i64 = 1 << 20;

/// Python's class attributes, by their names.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools, reason = "Python's attributes are what they are")]
#[command(next_help_heading = "Python's class attributes")]
pub struct ClassAttributes {
    /// How many connections may wait to be accepted.
    #[arg(
        long,
        value_name = "N",
        default_value_t = ServerBuilder::REQUEST_QUEUE_SIZE,
        value_parser = value_parser!(u32).range(..=65_535)
    )]
    pub request_queue_size: u32,

    /// Whether to listen although connections of an earlier server on the same
    /// address are not quite gone (TIME_WAIT). By default true for streams and false
    /// for datagrams: there it lets another process bind the same address, and
    /// receive the datagrams.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    pub allow_reuse_address: Option<bool>,

    /// Whether other processes may listen on the same address at the same time.
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    pub allow_reuse_port: bool,

    /// The longest datagram that is taken whole, in bytes; the rest of a longer
    /// one is lost.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8192,
        value_parser = value_parser!(u32).range(..=LARGEST_PACKET)
    )]
    pub max_packet_size: u32,

    /// Whether requests in flight in threads are left to themselves at the end.
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    pub daemon_threads: bool,

    /// How many processes may run at once, where each request has its own;
    /// other clients wait in the backlog.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 40,
        value_parser = value_parser!(u32).range(1..=100_000)
    )]
    pub max_children: u32,

    /// Whether to wait, for as long as --grace says, for requests in flight.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub block_on_close: bool,

    /// How long --once waits for its request; without end if not given, and for
    /// 300 seconds where requests have processes.
    #[arg(long, value_name = "SECONDS", value_parser = units::seconds)]
    pub timeout: Option<Duration>,

    /// The longest time between two looks at whether there is something to do
    /// beside serving. A signal is noticed at once whatever it is.
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = units::seconds)]
    pub poll_interval: Duration,
}

/// The files of Unix sockets.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Unix socket files")]
pub struct SocketFiles {
    /// Whether to remove the file of a server that is gone: of a socket that is
    /// closed. Otherwise the address is in use, as in Python.
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    pub remove_stale_socket: bool,

    /// The permissions of the file, such as 660. By default 777 less the umask.
    #[arg(long, value_name = "MODE", value_parser = owner::mode)]
    pub socket_mode: Option<u32>,

    /// Who the file belongs to: USER, USER:GROUP or :GROUP, by name or number.
    #[arg(long, value_name = "OWNER", value_parser = owner::owner)]
    pub socket_owner: Option<Owner>,
}
