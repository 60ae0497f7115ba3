//! The tests of the binary `wasm-socketserver`, with real sockets and real components.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod fixture;
mod forged;

mod access;
mod at_exit;
mod attacks;
mod backlog;
mod budget;
mod cache;
mod command_line;
mod configuration;
mod conformance;
mod counters;
mod datagrams;
mod defer_accept;
mod documents;
mod exhaustion;
mod files;
mod http_static;
mod jail;
mod listen_options;
mod load;
mod loading;
mod log;
mod matrix;
mod monitor;
mod network;
mod options;
mod overtime;
mod own_addresses;
mod processes;
mod profile;
mod programs;
mod projects;
mod proxy_protocol;
mod python_files;
mod python_layout;
mod requests;
mod sample_programs;
mod samples;
mod shell;
mod shutdown;
mod signals;
mod socket_calls;
mod stack;
mod start;
mod stream_handlers;
mod supervisor;
mod systemd;
mod time_slices;
mod user;
mod wall_time;
mod wasi;
