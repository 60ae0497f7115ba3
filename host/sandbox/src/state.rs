//! What the imports see of the request that they are called for.

use std::sync::Arc;

pub use socketserver::Request;
use socketserver::{Address, ServerInfo};
use wasmtime::component::ResourceTable;

use crate::limits::Limits;
use crate::policy::{MAX_HANDLES, MAX_LOG_LINES};

/// The data of one Store.
pub(crate) struct State {
    /// The sockets that the guest holds.
    pub table: ResourceTable,
    /// What it may allocate.
    pub limits: Limits,
    /// Who talks to it; `None` for the trial instance.
    pub peer: Option<Peer>,
    /// The name of the handler, for the log.
    pub handler: Arc<str>,
    /// How many lines it may still log.
    pub log_lines_left: u32,
    /// The client broke the connection while the guest was using it, so an
    /// error that the guest returns later is the client's fault.
    pub connection_lost: bool,
}

/// The two sides that a guest stands between.
pub(crate) struct Peer {
    pub client_address: Address,
    pub server: Arc<ServerInfo>,
}

impl State {
    pub(crate) fn new(limits: Limits, handler: &Arc<str>, peer: Option<Peer>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        State {
            table,
            limits,
            peer,
            handler: Arc::clone(handler),
            log_lines_left: MAX_LOG_LINES,
            connection_lost: false,
        }
    }

    /// Gives the guest a handle to the request socket.
    pub(crate) fn push(
        &mut self,
        request: Request,
    ) -> wasmtime::Result<wasmtime::component::Resource<Request>> {
        Ok(self.table.push(request)?)
    }
}
