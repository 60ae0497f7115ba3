//! Request handlers that run in WebAssembly components.
//!
//! A [`ComponentHandler`] is a [`socketserver::RequestHandler`]: for each
//! request it makes a new instance of one component, calls its `setup`,
//! `handle` and `finish`, and drops it. What the instance may reach is the
//! request socket, facts about the server, and a log; what it may use up is
//! written in a [`Policy`]. Which sockets it can answer, its [`World`]s say.
//!
//! ```no_run
//! use std::time::Duration;
//! use socketserver::{Concurrency, Server, Threading};
//! use socketserver_sandbox::{Cache, Component, ComponentHandler, Engine, Policy, Loader, EngineSettings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::default();
//! let engine = Engine::new(100, &EngineSettings::default())?;
//! let component = Component::load(&engine, "upper.wasm".as_ref(), &Loader::in_process(Cache::of_user()?))?;
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
//! | file | what it holds |
//! |---|---|
//! | `engine`, `ticker` | one Engine for the process, its pool of instances, what makes its epochs pass |
//! | `settings` | what an engine is like: stack, bounds checks |
//! | `loader`, `binary`, `component` | bytes to a checked component |
//! | `stubs` | what of WASI a component was cut off from when it was built |
//! | `compiler`, `answer` | compiling, in a process of its own if it is not trusted |
//! | `world`, `exports` | what a component can be a handler of, and where its functions are |
//! | `cache` | compiled components, kept on disk |
//! | `policy` | what a guest may use |
//! | `counts` | what is counted that no error tells of |
//! | `footprint` | what an instance takes from its beginning, known at load |
//! | `limits`, `budget` | holding it to that: memory and tables, CPU time |
//! | `trial` | what shows on an instance only |
//! | `handler` | one request: Store, instance, setup, handle, finish |
//! | `state` | what the imports see of their request |
//! | `imports` | the host's side of the contract, one file per WIT interface |
//! | `wasi` | the part of WASI that handlers are given, likewise |
//! | `descriptors` | what a handler holds open beside its request |
//! | `grants`, `open_files` | what of the host an operator lets a handler see; how many files it holds open |
//! | `guest_log`, `sleep` | what guests write to the log; letting them wait for time to pass |
//! | `failure` | why a request failed, and whose fault it was |
//! | `text` | text from guests, made safe to print |
//! | `sys` | the unsafe code |

#![deny(missing_docs)]

mod answer;
mod binary;
mod bindings;
mod budget;
mod cache;
mod compiler;
mod component;
mod counts;
mod descriptors;
mod engine;
mod error;
mod exports;
mod failure;
mod footprint;
mod grants;
mod guest_log;
mod handler;
mod imports;
mod limits;
mod loader;
mod open_files;
mod policy;
mod settings;
mod sleep;
mod state;
mod stubs;
mod sys;
mod text;
mod ticker;
mod trial;
mod turns;
mod wasi;
mod world;

pub use binary::read as read_component;
pub use cache::Cache;
pub use compiler::{Compiler, CompilerProcess, compile_for_parent};
pub use component::{Component, Description};
pub use counts::HandlerCounters;
pub use descriptors::HandlerDescriptors;
pub use engine::Engine;
pub use error::{CacheError, EngineError, LoadError};
pub use grants::Dir;
pub use handler::{ComponentHandler, InstanceTimes};
pub use loader::Loader;
pub use policy::{OnKill, Policy, UnknownWord};
pub use settings::{BoundsChecks, EngineSettings};
pub use stubs::stubbed_wasi;
pub use world::World;
