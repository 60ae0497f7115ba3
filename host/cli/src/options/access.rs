//! Options that choose which clients are served. The server judges clients before it makes
//! anything for them.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::time::Duration;

use clap::{Args, value_parser};
use socketserver::access::{AccessTime, ClientSet};

use crate::settings::AccessSettings;
use crate::values::access::{self, Banner};

/// The rules about clients.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access of clients")]
pub struct AccessOptions {
    /// Serve these clients, and no others; repeatable.
    ///
    /// A network such as 10.0.0.0/8, an address, or for Unix sockets user:NAME or
    /// group:NAME, each a name or a number. The rule applies to all sockets. Only the group
    /// that a process runs with counts; its supplementary groups do not. An IPv4 client of an
    /// IPv6 socket is an IPv4 client.
    #[arg(long, value_name = "WHO", value_parser = access::client)]
    pub allow: Vec<ClientSet>,

    /// Refuse these clients; overrides --allow; repeatable.
    ///
    /// Clients are written as for --allow. A refused client sees the end of its connection at
    /// once.
    #[arg(long, value_name = "WHO", value_parser = access::client)]
    pub deny: Vec<ClientSet>,

    /// Serve at this time of the day, such as 08:00-18:30; repeatable.
    ///
    /// The local clock counts. 08:00-18:30 lasts until 18:29:59, and 22:00-06:00 passes
    /// midnight. At other times the server refuses all clients.
    #[arg(long, value_name = "FROM-UNTIL")]
    pub access_times: Vec<AccessTime>,

    /// Refuse all clients at or above this load average.
    ///
    /// The average over the last minute counts.
    #[arg(long, value_name = "LOAD", value_parser = access::load)]
    pub max_load: Option<f64>,

    /// Limit the requests of each source to RATE in a second.
    ///
    /// RATE may be a fraction such as 0.1. BURST clients may come at once: RATE by default,
    /// and at least 1. A source is an IPv4 address, the /64 of an IPv6 address, or the user
    /// of a Unix client. Each of --workers counts for itself.
    #[arg(long, value_name = "RATE[:BURST]", value_parser = access::source_rate)]
    pub source_rate: Option<(f64, u32)>,

    /// Run at most N requests of each source at once.
    ///
    /// --source-rate says what a source is. With --concurrency forking, a request counts
    /// until a moment after its client has seen its end. Each of --workers counts for itself.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub max_per_source: Option<u32>,

    /// Refuse all clients for PAUSE after more than N in a second.
    ///
    /// N clients may come at once, and N more in each second, over all sources and all
    /// --workers. PAUSE is 10s by default. Clients that another option refuses do not count.
    #[arg(long, value_name = "N[:PAUSE]", value_parser = access::cps)]
    pub cps: Option<(u32, Duration)>,

    /// Send this text to refused clients of streams.
    ///
    /// At most 1 KiB, with \n, \r, \t, \\ and \xHH. The text is the same for all rules. By
    /// default a refused client receives nothing.
    #[arg(long, value_name = "TEXT", value_parser = access::banner)]
    pub banner_refused: Option<Banner>,
}

impl AccessOptions {
    /// Returns the rules that the options mean.
    pub fn settings(self) -> AccessSettings {
        AccessSettings {
            allow: self.allow,
            deny: self.deny,
            access_times: self.access_times,
            max_load: self.max_load,
            source_rate: self.source_rate,
            max_per_source: self.max_per_source,
            cps: self.cps,
            banner: self.banner_refused,
        }
    }
}
