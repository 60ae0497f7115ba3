//! The monitor: a listening socket of its own, where operators and programs look at a server.
//!
//! It runs in no process that serves clients: beside `serve` in a process of its own, which is in
//! the jail, and in `up` in a thread. It reads the counters that all processes share.
//!
//! | file | content |
//! |---|---|
//! | this one | the addresses, and their kinds |
//! | `view` | what there is to see of a server |
//! | `listen`, `connection` | the loop, and one connection |
//! | `host` | the names by which clients may ask |
//! | `http`, `page`, `metrics` | HTTP, the page, and the metrics for Prometheus |
//! | `agent` | the protocol of HAProxy's agent |
//! | `process` | the process beside `serve`, and the hidden command `monitor` |

mod agent;
mod connection;
mod host;
mod http;
mod listen;
mod metrics;
mod page;
pub mod process;
pub mod view;

pub use listen::{Door, run};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use socketserver::Endpoint;

/// The protocol that a listening socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// HTTP.
    Http,
    /// That of HAProxy's agent.
    Agent,
}

impl Kind {
    /// Returns the option that names addresses of this kind.
    pub fn option(self) -> &'static str {
        match self {
            Kind::Http => "--metrics",
            Kind::Agent => "--agent",
        }
    }
}

/// The addresses of a monitor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MonitorSettings {
    /// The addresses for HTTP.
    pub metrics: Vec<Endpoint>,
    /// The addresses for HAProxy's agent.
    pub agent: Vec<Endpoint>,
}

impl MonitorSettings {
    /// Returns true if there is nothing to listen at.
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty() && self.agent.is_empty()
    }

    /// Binds the sockets.
    ///
    /// # Errors
    ///
    /// One cannot be bound.
    pub fn bind(&self) -> Result<Vec<Door>> {
        let metrics = self.metrics.iter().map(|endpoint| Door::bind(endpoint, Kind::Http));
        metrics.chain(self.agent.iter().map(|end| Door::bind(end, Kind::Agent))).collect()
    }
}
