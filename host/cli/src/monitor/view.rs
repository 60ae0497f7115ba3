//! The view of a server that the monitor shows.

use serde::Serialize;
use serde_json::{Value, json};

use crate::report::certificates::Certificate;
use crate::report::counters::{Counters, Failure, InFlight, Phase, Totals};

/// A server, or all servers of a supervisor, at one time.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// The version of this program.
    pub version: &'static str,
    /// True if each handler serves.
    pub ready: bool,
    /// True if the server takes no more clients, and ends.
    pub draining: bool,
    /// The handlers.
    pub handlers: Vec<HandlerView>,
    /// The supervisor, if there is one.
    pub supervisor: Option<SupervisorView>,
}

/// The reloads and restarts of a supervisor.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SupervisorView {
    /// The number of times that the configuration was read again.
    pub reloads: u64,
    /// The number of those after which not all was as the configuration says.
    pub failed_reloads: u64,
    /// True unless that holds for the last one.
    pub last_reload_succeeded: bool,
    /// The time of the last configuration that was taken over, in seconds since 1970.
    pub last_reload: u64,
    /// The number of processes that finish their requests.
    pub ending: usize,
}

/// A handler.
#[derive(Debug, Clone, Serialize)]
pub struct HandlerView {
    /// Its name.
    pub name: String,
    /// `starting`, `serving`, `draining`, `drained`, or `waiting` until a process is started anew.
    pub state: String,
    /// The generation that serves, if a supervisor counts them.
    pub generation: Option<u64>,
    /// The process that serves.
    pub pid: Option<u32>,
    /// The time since its start.
    pub seconds: u64,
    /// The number of processes that were started because another had died.
    pub restarts: u64,
    /// The reason for which a process has ended, or did not come to serve.
    pub last_failure: Option<String>,
    /// The addresses.
    pub addresses: Vec<String>,
    /// The certificates of the server, and when they expire.
    pub certificates: Vec<Certificate>,
    /// The number of requests that it can have at once.
    pub capacity: u64,
    /// The counters.
    #[serde(serialize_with = "counters")]
    pub totals: Totals,
    /// Requests in flight, the longest first.
    pub in_flight: Vec<InFlight>,
    /// The last failures, the last one first.
    pub failures: Vec<Failure>,
}

impl HandlerView {
    /// Adds what the processes of a generation have counted.
    pub fn add(&mut self, counters: &Counters) {
        self.totals.add(&counters.totals());
        self.in_flight.extend(counters.oldest_in_flight());
        self.failures.extend(counters.last_failures());
    }
}

/// Returns the word for a phase.
pub fn state_of(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Serving => "serving",
        Phase::Draining => "draining",
    }
}

fn counters<S: serde::Serializer>(totals: &Totals, to: S) -> Result<S::Ok, S::Error> {
    let mut counters = totals.to_json();
    if let Value::Object(counters) = &mut counters {
        counters.insert("usage".to_owned(), json!(totals.usage));
    }
    counters.serialize(to)
}

/// A server that can be looked at.
pub trait Source: Send {
    /// Looks at the server.
    fn look(&self) -> View;
}
