//! Python's server classes and class attributes.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::time::Duration;

use clap::{ArgAction, Args, value_parser};
use socketserver::ServerClass;

use crate::values::{server_class, units};

/// The longest datagram that the option allows, in bytes. Linux has none that is longer unless
/// it is configured to.
const LONGEST_PACKET: i64 = 1 << 20;

/// Python's server classes and class attributes, by their names. `-h` does not show them:
/// only a program that comes from Python needs them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Python's classes and attributes")]
pub struct PythonOptions {
    /// Serve as one of Python's server classes, such as ThreadingUDPServer.
    ///
    /// The class says which transport and which concurrency the server has.
    #[arg(
        long,
        value_name = "CLASS",
        conflicts_with = "concurrency",
        value_parser = server_class::server_class,
        hide_short_help = true
    )]
    pub server: Option<ServerClass>,

    /// Let N connections wait to be accepted.
    #[arg(
        long,
        value_name = "N",
        value_parser = value_parser!(u32).range(..=65_535),
        hide_short_help = true
    )]
    pub request_queue_size: Option<u32>,

    /// Bind addresses that connections of an earlier server still use (TIME_WAIT).
    ///
    /// By default true for streams and false for datagrams. For datagrams it would let
    /// another process bind the same address and receive the datagrams.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, hide_short_help = true)]
    pub allow_reuse_address: Option<bool>,

    /// Let other processes listen on the same address at the same time.
    #[arg(
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        hide_short_help = true
    )]
    pub allow_reuse_port: Option<bool>,

    /// Receive datagrams of at most N bytes whole.
    ///
    /// The rest of a longer datagram is lost.
    #[arg(
        long,
        value_name = "N",
        value_parser = value_parser!(u32).range(..=LONGEST_PACKET),
        hide_short_help = true
    )]
    pub max_packet_size: Option<u32>,

    /// Do not wait at the end for requests that run in threads.
    #[arg(
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        hide_short_help = true
    )]
    pub daemon_threads: Option<bool>,

    /// Run at most N processes at once with --concurrency forking.
    ///
    /// Other clients wait in the backlog. Each process has its share of --memory-total: the
    /// more there may be, the less memory has each.
    #[arg(
        long,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..=100_000),
        hide_short_help = true
    )]
    pub max_children: Option<u32>,

    /// Wait at the end for requests in flight, for as long as --grace.
    #[arg(
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        hide_short_help = true
    )]
    pub block_on_close: Option<bool>,

    /// Let --once wait this long for its request.
    ///
    /// By default it waits without end, and for 300 seconds with --concurrency forking.
    #[arg(long, value_name = "SECONDS", value_parser = units::seconds, hide_short_help = true)]
    pub timeout: Option<Duration>,

    /// Set the longest time between two rounds of the loop's housekeeping.
    ///
    /// The server notices a signal at once whatever the interval is.
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = units::seconds,
        hide_short_help = true
    )]
    pub poll_interval: Option<Duration>,
}
