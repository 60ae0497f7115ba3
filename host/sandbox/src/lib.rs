//! Request handlers that run in WebAssembly components.
//!
//! A [`ComponentHandler`] is a [`socketserver::RequestHandler`]. For each request it creates
//! a new instance of one component, calls its `setup`, `handle` and `finish`, and drops it. If
//! the component is a program, it calls `run`, with the request as standard input and output.
//! The instance can reach the request socket, facts about the server, and a log. A
//! [`Policy`] has its limits. The component's [`World`]s say which sockets it can serve.
//!
//! ```no_run
//! use std::time::Duration;
//! use socketserver::{Concurrency, Server, Threading};
//! use socketserver_sandbox::{
//!     Cache, Component, ComponentHandler, Engine, EngineSettings, Loader, Policy,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::default();
//! let engine = Engine::new(100, &EngineSettings::default())?;
//! let component = Component::load(&engine, "upper.wasm".as_ref(), &Loader::in_process(Cache::open_user()?))?;
//! let handler = ComponentHandler::new(&engine, &component, policy)?;
//! let threading = Threading { max_requests: Some(100), ..Threading::new() };
//! let server = Server::builder(handler)
//!     .bind("tcp://127.0.0.1:0".parse()?)
//!     .concurrency(Concurrency::Threading(threading))
//!     .build()?;
//! server.serve_forever(Duration::from_millis(500))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//!
//! Each folder uses the folders above it in this table, and none below it. `policy`,
//! `network_grants`, `network_rules`, `lookup`, `public_address`, `error` and `world` use no folder, and every folder may use them; `sys` has the unsafe
//! code.
//!
//! | folder | file | content |
//! |---|---|---|
//! | `engine/` | `mod` | the engine of the process, and its pool of instances |
//! | | `settings` | settings for all guests of an engine: stack, bounds checks |
//! | | `functions` | functions that were compiled before |
//! | | `ticker` | the thread that counts epochs |
//! | `limits/` | `memory` | memory and tables of one instance |
//! | | `total_memory` | memory of all instances, and those that wait for it |
//! | | `touched` | memory that a request of a task has touched |
//! | | `cpu` | CPU time and wall time of one instance |
//! | | `kill` | the limit for which the host ended a guest |
//! | | `time_slice` | the time slice of a thread whose guest computes for long |
//! | `broker/` | | the process that opens sockets for processes in the jail |
//! | `host/` | `interfaces`, `version` | all interfaces that a handler may import, and their versions |
//! | | `state` | the data of one Store, which host calls see |
//! | | `contract/` | the host's side of the contract: one file for each WIT interface |
//! | | `wasi/` | the part of WASI 0.2 that handlers get: one file for each interface or package |
//! | | `grants` | the environment and directories that the operator grants |
//! | | `request_variables` | the variables of a program about its request |
//! | | `unreachable` | clients whose datagram cannot be answered |
//! | | `open_files` | the number of files that all instances hold open |
//! | | `opened_sockets` | the sockets that one guest opens |
//! | | `guest_log` | lines that guests write to the log |
//! | | `sleep` | waiting for time to pass, or for sockets |
//! | | `counters` | events that no error reports |
//! | `load/` | `loader` | the settings of loading |
//! | | `source` | from a file to the binary of a component or a core module |
//! | | `adapter` | from a core module to a component |
//! | | `go_memory` | room for the adapter in the memory of a program in Go |
//! | | `compiler`, `wire` | the compiler, its process, and the wire format of its result |
//! | | `cache` | compiled components on disk |
//! | | `footprint` | the memory that each instance of a component takes, known at load |
//! | | `component` | a compiled component, and its imports and exports |
//! | `snapshot/` | | the memory that a component leaves when it runs at build, as a component |
//! | `instance/` | `handler` | the handler that a component is made into |
//! | | `request` | one request: `setup`, `handle`, `finish` |
//! | | `program` | one request to a program: `run` |
//! | | `store` | the Store of an instance, which connects the limits to the engine |
//! | | `capacity` | the number of requests that a handler can serve at once |
//! | | `exports` | the functions that a handler exports |
//! | | `preflight` | the instance at load, which shows what would fail for every request |
//! | | `failure` | the error of a failed request, with its reason |
//! | | `descriptors` | the descriptors that a handler holds beside its requests |

#![deny(missing_docs)]

mod broker;
mod engine;
mod error;
mod host;
mod instance;
mod limits;
mod load;
mod lookup;
mod network_grants;
mod network_rules;
mod policy;
mod public_address;
mod snapshot;
mod sys;
mod world;

pub use broker::{Broker, BrokerLimits, ProcessKind, serve_broker};
pub use engine::Engine;
pub use engine::FiberPool;
pub use engine::functions::Functions;
pub use engine::settings::{BoundsChecks, EngineSettings, InitialData};
pub use error::{CacheError, EngineError, LoadError};
pub use host::counters::HandlerCounters;
pub use instance::descriptors::HandlerDescriptors;
pub use instance::handler::{ComponentHandler, InstanceTimes};
pub use limits::cpu::CpuTimes;
pub use load::cache::Cache;
pub use load::compiler::{Compiler, CompilerProcess, compile_for_parent};
pub use load::component::{Component, Description};
pub use load::loader::Loader;
pub use load::source::read as read_component;
pub use network_grants::{GrantError, HostName, NetworkGrants, Protocol, SocketGrant};
pub use policy::{Dir, OnKill, Policy, UnknownWord};
pub use snapshot::{BuildFolder, compiled_functions, keep_compiled, keep_functions, take_snapshot};
pub use sys::{keep_program_in_huge_pages, return_large_blocks};
pub use world::World;
