//! The data of one Store, which host calls see.

use std::sync::Arc;

pub use socketserver::Request;
use socketserver::{Address, Reason, ServerInfo};
use tracing::Level;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime::error::format_err;

use crate::host::counters::HandlerCounters;
use crate::host::elsewhere::{Task, drop_resources};
use crate::host::guest_log::{GuestLog, SharedLog};
use crate::host::opened_sockets::OpenedSockets;
use crate::host::sleep::Sleep;
use crate::host::wasi::{Context, Stdio};
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
    pub log: SharedLog,
    /// The client and the server of the request; `None` before the request.
    pub request_info: Option<RequestInfo>,
    /// The bytes that the guest may pass in one call.
    pub max_call_data: usize,
    /// The bytes that the host allocates for one call of the guest at most.
    pub call_memory: usize,
    /// The handles that the guest may hold.
    pub max_handles: usize,
    /// The waiting of the guest for time to pass.
    pub sleep: Sleep,
    /// The sockets that the guest opens; `None` before the request, and for a component that
    /// cannot open any.
    pub opened: Option<Box<OpenedSockets>>,
    /// The task of the request, if it runs as one: other threads make calls that may block.
    pub task: Option<Task>,
    /// The context of WASI.
    pub wasi: Context,
    /// Set if the guest is a program, which speaks on its standard streams.
    pub is_program: bool,
    /// The standard input and output of a program; `None` before the request.
    pub stdio: Option<Stdio>,
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
        // The engine limits the handles of the guest. A timer of WASI has two entries.
        table.set_max_capacity(policy.handles.saturating_mul(2));
        State {
            table,
            memory,
            time: RunTime::new(policy.cpu_time),
            log: SharedLog::new(GuestLog::new(
                Arc::clone(handler),
                policy.log_bytes,
                counters.cloned(),
            )),
            request_info: None,
            max_call_data: policy.memory.min(MAX_CALL_DATA),
            call_memory: policy.call_memory,
            max_handles: policy.handles,
            sleep: Sleep::new(policy.idle_timeout),
            opened: None,
            task: None,
            wasi: Context::default(),
            is_program: false,
            stdio: None,
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

    /// Notes that the guest opens a file or a directory.
    pub(crate) fn opens_file(&mut self) {
        if let Some(task) = &mut self.task {
            task.holds_files = true;
        }
    }

    /// Returns true if calls on a stream may block the thread, which may not be.
    pub(crate) fn is_stream_of_file(&self, stream: u32) -> bool {
        self.task.as_ref().is_some_and(|task| task.file_streams.contains(&stream))
    }

    /// Notes that a stream is dropped. Returns true if it is one of a file, and the thread may not
    /// be blocked.
    pub(crate) fn drops_stream_of_file(&mut self, stream: u32) -> bool {
        self.task.as_mut().is_some_and(|task| task.file_streams.remove(&stream))
    }

    /// Notes that the guest has a stream of a file, if its calls may not block.
    pub(crate) fn holds_stream_of_file(&mut self, stream: u32) {
        if let Some(task) = &mut self.task {
            task.file_streams.insert(stream);
        }
    }

    /// Gives the guest a handle to the request socket.
    pub(crate) fn push(&mut self, request: Request) -> wasmtime::Result<Resource<Request>> {
        Ok(self.table.push(request)?)
    }

    /// Begins the request of a client.
    pub(crate) fn begin_request(&mut self, client_address: Address, server: Arc<ServerInfo>) {
        self.log.lock().set_client(client_address.clone());
        self.request_info = Some(RequestInfo { client_address, server });
    }

    /// Logs one line of the guest.
    pub(crate) fn log_line(&mut self, level: Level, line: &str) {
        self.log.lock().write_line(level, line);
    }

    /// Logs that the host has denied the guest a call. It logs this once for each request,
    /// because a guest can try as often as it likes.
    pub(crate) fn log_denial(&mut self, call: &str) {
        if !std::mem::replace(&mut self.denial_logged, true) {
            self.log.lock().write_denial(call);
        }
    }
}

impl State {
    /// Drops the resources that the guest holds, and logs the last line that the guest wrote,
    /// although the guest did not end it.
    pub(crate) fn end(&mut self) {
        drop_resources(self);
        self.log.lock().finish();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.end();
    }
}
