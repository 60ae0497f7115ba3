//! Code that the tests and the benches of wasm-socketserver share: programs that they build
//! and start, clients, and what `/proc` shows of a process.

#![deny(missing_docs)]

pub mod bench;
pub mod build;
pub mod bystander;
pub mod load;
pub mod measure;
pub mod process;
pub mod procfs;
pub mod slow_file;
pub mod swaps;
pub mod usage;
