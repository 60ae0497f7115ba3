//! Options for looking at a server.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use clap::Args;
use socketserver::Endpoint;

use crate::monitor::MonitorSettings;
use crate::report::certificates::Certificate;
use crate::values::endpoint;
use crate::values::owner::{self, Identity};

/// The addresses at which others look at the server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Metrics")]
pub struct MonitoringOptions {
    /// Show the server at this address, such as tcp://127.0.0.1:9464.
    ///
    /// It may be repeated. The address answers HTTP, in a process of its own: / is a page for people, /metrics is
    /// for Prometheus, /status is JSON, /healthz and /readyz are for probes. It has neither a
    /// password nor TLS: unix://PATH lets the permissions of the folder decide who looks.
    #[arg(long, value_name = "URL", value_parser = endpoint::stream)]
    pub metrics: Vec<Endpoint>,

    /// Tell HAProxy's agent-check at this address how much is free.
    ///
    /// It may be repeated. The answer is the free share of --max-requests, and `drain` when the server ends.
    #[arg(long, value_name = "URL", value_parser = endpoint::stream)]
    pub agent: Vec<Endpoint>,
}

impl MonitoringOptions {
    /// Returns the settings that the options mean.
    pub fn settings(&self) -> MonitorSettings {
        MonitorSettings { metrics: self.metrics.clone(), agent: self.agent.clone() }
    }
}

/// The options of the hidden command that shows a server.
#[derive(Debug, Clone, Args)]
pub struct MonitorOptions {
    /// The addresses of the monitor.
    #[command(flatten)]
    pub monitoring: MonitoringOptions,
    /// The name of the handler.
    #[arg(long = "name")]
    pub handler: String,
    /// The process of the server.
    #[arg(long)]
    pub server: u32,
    /// The addresses of the server.
    #[arg(long)]
    pub bind: Vec<String>,
    /// The certificates of the server.
    #[arg(long)]
    pub certificate: Vec<Certificate>,
    /// Become this user.
    #[arg(long, value_parser = owner::identity)]
    pub user: Option<Identity>,
}
