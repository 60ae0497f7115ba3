//! From a file to a compiled component whose imports, exports and footprint are known.

pub(crate) mod adapter;
pub(crate) mod cache;
pub(crate) mod compiler;
pub(crate) mod component;
pub(crate) mod footprint;
mod go_memory;
pub(crate) mod loader;
pub(crate) mod source;
pub(crate) mod wire;
