//! Options for running requests, and for the end of the server.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::time::Duration;

use clap::{Args, value_parser};
use socketserver::ConcurrencyKind;

use super::words;
use crate::values::units;

/// The concurrency of requests, their number, and the end of the server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Concurrency and shutdown")]
pub struct RunningOptions {
    /// The concurrency.
    #[arg(
        long,
        value_name = "HOW",
        value_parser = words::concurrency(),
        hide_possible_values = true,
        help = "Run requests by sync, threading, fibers or forking"
    )]
    #[arg(long_help = "Run requests in this way:\n\
        - sync: one at a time, as Python's TCPServer does\n\
        - threading: each in a thread, as ThreadingTCPServer does\n\
        - fibers: as tasks of a few threads, for very many connections\n\
        - forking: each in a forked process, as ForkingTCPServer does")]
    pub concurrency: Option<ConcurrencyKind>,

    /// Serve from N processes, each with threads or fibers.
    ///
    /// If one of the processes ends, only its own requests end, and another process replaces
    /// it. With --concurrency fibers each runs its requests as tasks of a few threads.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// Run at most N requests at once, in threads or as fibers.
    ///
    /// Other clients wait in the backlog. The default, and the most, is what the machine can
    /// hold. Each of --workers has its share of N. With --concurrency sync a request runs
    /// alone, whatever N is. With --concurrency forking the option is an error:
    /// --max-children limits the processes.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub max_requests: Option<u32>,

    /// Run a request only when its client has sent something.
    ///
    /// Until the first byte of a connection, or its end, no handler runs, and the connection
    /// has no instance, no thread or process, and no place of --max-requests. It waits in the
    /// loop, for --idle-timeout at most. Leave the option out if the handler speaks first. It
    /// applies to all sockets; those for datagrams cannot have it.
    #[arg(long)]
    pub defer_accept: bool,

    /// Serve one request and end: Python's handle_request().
    ///
    /// As in Python, a client that is refused, or has reset its connection, also counts.
    #[arg(long, conflicts_with = "workers")]
    pub once: bool,

    /// Serve clients for this long after a signal.
    ///
    /// They are the requests in flight and the clients that wait in the backlog. The server
    /// refuses later clients. With 0s it ends all of them at once.
    #[arg(long, value_name = "DURATION", value_parser = units::duration_or_zero)]
    pub grace: Option<Duration>,
}
