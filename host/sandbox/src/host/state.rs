//! What the imports see of the request that they are called for.

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use socketserver::Request;
use socketserver::{Address, Reason, ServerInfo};
use wasmtime::component::ResourceTable;
use wasmtime::error::format_err;

use crate::host::counters::HandlerCounters;
use crate::host::guest_log::{self, Unfinished};
use crate::limits::cpu::CpuTime;
use crate::limits::memory::Limits;
use crate::policy::{MAX_CALL_DATA, Policy};

/// The data of one Store.
pub(crate) struct State {
    /// What the guest holds: sockets, and what WASI has.
    pub table: ResourceTable,
    /// What it may allocate.
    pub limits: Limits,
    /// Who talks to it; `None` before its request.
    pub peer: Option<Peer>,
    /// When the request ends at the latest, and how long that is from its
    /// beginning.
    pub wall_time: Option<(Instant, Duration)>,
    /// What it has used of its CPU time.
    pub cpu_time: CpuTime,
    /// How many bytes it may hand over in one call.
    pub call_data: usize,
    /// The name of the handler, for the log.
    pub handler: Arc<str>,
    /// How many bytes the host allocates for one of its calls at the most.
    pub call_memory: usize,
    /// How many bytes it may log, and how many of them are left; `None` when the
    /// log has said that there are none.
    pub log_bytes: usize,
    /// See `log_bytes`.
    pub log_bytes_left: Option<usize>,
    /// Where it is counted what is not an error of the request.
    pub counters: Option<Arc<dyn HandlerCounters>>,
    /// The lines that it has begun on its standard output and error; `None` if it
    /// never wrote to them.
    pub unfinished: Option<Box<Unfinished>>,
    /// Its request, if it may have to wait for time to pass.
    pub request: Option<Request>,
    /// How long it may still sleep before it has a request, and could at first.
    pub sleep_left: Duration,
    /// See `sleep_left`.
    pub sleep_limit: Duration,
    /// The client went away, or cannot be answered, while the guest was at it:
    /// why, as the reason of an error. What the guest returns later is then the
    /// client's fault.
    pub lost: Option<Reason>,
    /// The guest has shut down its side of the connection: that it cannot send is
    /// its own doing.
    pub finished_sending: bool,
    /// The log has said that this guest was denied something.
    pub denial_logged: bool,
}

/// The two sides that a guest stands between.
pub(crate) struct Peer {
    pub client_address: Address,
    pub server: Arc<ServerInfo>,
}

impl State {
    pub(crate) fn new(
        limits: Limits,
        policy: &Policy,
        handler: &Arc<str>,
        counters: Option<&Arc<dyn HandlerCounters>>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(policy.handles);
        State {
            table,
            limits,
            peer: None,
            wall_time: None,
            cpu_time: CpuTime::new(policy.cpu_time),
            call_data: policy.memory.min(MAX_CALL_DATA),
            handler: Arc::clone(handler),
            call_memory: policy.call_memory,
            log_bytes: policy.log_bytes,
            log_bytes_left: Some(policy.log_bytes),
            counters: counters.cloned(),
            unfinished: None,
            request: None,
            sleep_left: policy.idle_timeout,
            sleep_limit: policy.idle_timeout,
            lost: None,
            finished_sending: false,
            denial_logged: false,
        }
    }

    /// The two sides of the request.
    ///
    /// Errors: there is none yet. The call ends the guest.
    pub(crate) fn peer(&self) -> wasmtime::Result<&Peer> {
        self.peer.as_ref().ok_or_else(|| format_err!("there is no server before the first request"))
    }

    /// Gives the guest a handle to the request socket.
    pub(crate) fn push(
        &mut self,
        request: Request,
    ) -> wasmtime::Result<wasmtime::component::Resource<Request>> {
        Ok(self.table.push(request)?)
    }
}

/// What a guest wrote last is logged, although it did not end the line.
impl Drop for State {
    fn drop(&mut self) {
        guest_log::finish_all(self);
    }
}
