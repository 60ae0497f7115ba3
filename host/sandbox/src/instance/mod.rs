//! A component as the handler of requests: a new instance for each request.

pub(crate) mod capacity;
pub(crate) mod descriptors;
pub(crate) mod exports;
pub(crate) mod failure;
pub(crate) mod handler;
pub(crate) mod preflight;
pub(crate) mod program;
pub(crate) mod request;
pub(crate) mod store;
