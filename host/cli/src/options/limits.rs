//! The limits of one request, and of all requests together.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::time::Duration;

use clap::Args;
use socketserver_sandbox::{OnKill, Policy};

use super::words;
use crate::values::units;

/// The limits of a request, and the end of its connection when it reaches one. The profile
/// sets the limits that are not given.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits of a request")]
pub struct LimitOptions {
    /// Limit the memory of a request.
    ///
    /// The limit covers all memories and tables, and what the engine keeps for the instance.
    #[arg(long, value_name = "SIZE", value_parser = units::memory)]
    pub memory: Option<usize>,

    /// Limit the memory of all requests together.
    ///
    /// By default it is three quarters of the machine's memory. Each forked process and each
    /// worker has its share of the total: the more --max-children or --workers there may be,
    /// the less memory has each. With --concurrency fibers the memory that requests have touched
    /// counts, and otherwise what their memories may hold.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub memory_total: Option<usize>,

    /// Limit the CPU time of a request.
    ///
    /// Waiting does not count.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub cpu_time: Option<Duration>,

    /// Limit the time in which no byte moves.
    ///
    /// The limit covers the waiting of a request for its client, in either direction, and the
    /// sleeping of the handler.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub idle_timeout: Option<Duration>,

    /// Limit the time of a request in all.
    ///
    /// The limit applies however busy the handler and its client are.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub wall_time: Option<Duration>,

    /// Limit the bytes received.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub max_received: Option<u64>,

    /// Limit the bytes sent.
    ///
    /// An empty datagram counts as one byte.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub max_sent: Option<u64>,

    /// Limit the sockets that a handler has open.
    ///
    /// Opening another fails; the request goes on. --connect and --listen-grant say which
    /// sockets it may open.
    #[arg(long, value_name = "N")]
    pub sockets: Option<u32>,

    /// Limit the handler's connections.
    ///
    /// Connections that it makes count, with failed attempts, and those that it accepts.
    #[arg(long, value_name = "N")]
    pub connects: Option<u32>,

    /// Limit the bytes logged.
    ///
    /// The host drops what the handler logs beyond the limit. The request goes on.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub log_bytes: Option<u64>,

    /// End the connection in this way if its handler traps or reaches a limit.
    #[arg(
        long,
        value_name = "HOW",
        value_parser = words::on_kill(),
        hide_short_help = true,
        hide_possible_values = true
    )]
    #[arg(long_help = "End the connection in this way if its handler traps or reaches a limit:\n\
        - close: like any other connection\n\
        - reset: with a reset, which tells the client that what it received is not all\n\
        The client never learns the reason")]
    pub on_kill: Option<OnKill>,
}

impl LimitOptions {
    /// Returns the limits of `profile`, with those that are given in their place.
    pub fn policy(&self, profile: Policy) -> Policy {
        let log_bytes = self.log_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        Policy {
            memory: self.memory.unwrap_or(profile.memory),
            memory_total: self.memory_total.unwrap_or(profile.memory_total),
            cpu_time: self.cpu_time.unwrap_or(profile.cpu_time),
            idle_timeout: self.idle_timeout.unwrap_or(profile.idle_timeout),
            wall_time: self.wall_time.unwrap_or(profile.wall_time),
            max_received: self.max_received.unwrap_or(profile.max_received),
            max_sent: self.max_sent.unwrap_or(profile.max_sent),
            sockets: self.sockets.map_or(profile.sockets, |count| count as usize),
            connects: self.connects.unwrap_or(profile.connects),
            log_bytes: log_bytes.unwrap_or(profile.log_bytes),
            on_kill: self.on_kill.unwrap_or(profile.on_kill),
            ..profile
        }
    }
}
