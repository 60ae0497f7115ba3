//! The data of one Store, which host calls see.

use std::sync::Arc;
use std::time::Duration;

pub use socketserver::Request;
use socketserver::{Address, Reason, ServerInfo};
use tracing::Level;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime::error::format_err;

use crate::host::counters::HandlerCounters;
use crate::host::guest_log::{GuestLog, Standard};
use crate::limits::cpu::RunTime;
use crate::limits::memory::InstanceMemory;
use crate::policy::{MAX_CALL_DATA, Policy};

/// The data of one Store.
pub(crate) struct State {
    /// The resources that the guest holds: sockets, and those of WASI.
    pub table: ResourceTable,
    /// The memory of the instance.
    pub memory: InstanceMemory,
    /// The CPU time and the wall time of the instance.
    pub time: RunTime,
    /// The log of the guest.
    pub log: GuestLog,
    /// The client and the server of the request; `None` before the request.
    pub request_info: Option<RequestInfo>,
    /// The bytes that the guest may pass in one call.
    pub max_call_data: usize,
    /// The bytes that the host allocates for one call of the guest at most.
    pub call_memory: usize,
    /// The request, if the guest may have to wait for time to pass.
    pub request: Option<Request>,
    /// The time that the guest may still sleep before it has a request.
    pub sleep_left: Duration,
    /// The limit of that, which is the idle timeout.
    pub sleep_limit: Duration,
    /// Set when the client went away, or cannot be reached, during the request. An error
    /// that the guest returns later then has this reason.
    pub client_lost: Option<Reason>,
    /// Set when the guest has shut down its side of the connection. A later failure to send
    /// is then its own doing.
    pub finished_sending: bool,
    /// Set when the log has named a call that was denied.
    pub denial_logged: bool,
}

/// The client and the server of a request.
pub(crate) struct RequestInfo {
    pub client_address: Address,
    pub server: Arc<ServerInfo>,
}

impl State {
    pub(crate) fn new(
        memory: InstanceMemory,
        policy: &Policy,
        handler: &Arc<str>,
        counters: Option<&Arc<dyn HandlerCounters>>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(policy.handles);
        State {
            table,
            memory,
            time: RunTime::new(policy.cpu_time),
            log: GuestLog::new(Arc::clone(handler), policy.log_bytes, counters.cloned()),
            request_info: None,
            max_call_data: policy.memory.min(MAX_CALL_DATA),
            call_memory: policy.call_memory,
            request: None,
            sleep_left: policy.idle_timeout,
            sleep_limit: policy.idle_timeout,
            client_lost: None,
            finished_sending: false,
            denial_logged: false,
        }
    }

    /// Returns the client and the server of the request.
    ///
    /// # Errors
    ///
    /// There is no request yet. The error ends the guest.
    pub(crate) fn request_info(&self) -> wasmtime::Result<&RequestInfo> {
        self.request_info
            .as_ref()
            .ok_or_else(|| format_err!("there is no server before the first request"))
    }

    /// Gives the guest a handle to the request socket.
    pub(crate) fn push(&mut self, request: Request) -> wasmtime::Result<Resource<Request>> {
        Ok(self.table.push(request)?)
    }

    /// Logs one line of the guest.
    pub(crate) fn log_line(&mut self, level: Level, line: &str) {
        self.log.write_line(level, line, client_address(self.request_info.as_ref()));
    }

    /// Logs the lines that end in `data`, and keeps the beginning of the next one.
    pub(crate) fn log_output(&mut self, standard: Standard, data: &[u8]) {
        self.log.write_output(standard, data, client_address(self.request_info.as_ref()));
    }

    /// Logs that the host has denied the guest a call. It logs this once for each request,
    /// because a guest can try as often as it likes.
    pub(crate) fn log_denial(&mut self, call: &str) {
        if !std::mem::replace(&mut self.denial_logged, true) {
            self.log.write_denial(call, client_address(self.request_info.as_ref()));
        }
    }
}

impl State {
    /// Drops the resources that the guest holds, and logs the last line that the guest wrote,
    /// although the guest did not end it.
    pub(crate) fn end(&mut self) {
        self.table = ResourceTable::new();
        self.log.finish(client_address(self.request_info.as_ref()));
    }
}

fn client_address(info: Option<&RequestInfo>) -> Option<&Address> {
    info.map(|info| &info.client_address)
}

impl Drop for State {
    fn drop(&mut self) {
        self.end();
    }
}
