//! What the tests and the benches of wasm-socketserver share: programs that
//! are built and started, and clients that talk to them.

#![deny(missing_docs)]

pub mod bench;
pub mod build;
pub mod bystander;
pub mod load;
pub mod process;
pub mod usage;
