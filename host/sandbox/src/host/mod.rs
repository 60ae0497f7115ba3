//! The host's side of a guest: the interfaces that the guest may import, and the state behind
//! them.

pub(crate) mod bindings;
pub(crate) mod contract;
pub(crate) mod counters;
pub(crate) mod elsewhere;
pub(crate) mod grants;
pub(crate) mod guest_log;
pub(crate) mod interfaces;
pub(crate) mod open_files;
pub(crate) mod opened_sockets;
pub(crate) mod request_variables;
pub(crate) mod sleep;
pub(crate) mod state;
pub(crate) mod unreachable;
pub(crate) mod version;
pub(crate) mod waits;
pub(crate) mod wasi;
