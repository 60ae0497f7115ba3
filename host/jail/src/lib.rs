//! A jail for processes that serve requests, or compile, with WebAssembly.
//!
//! Code that breaks out of the WebAssembly engine runs as native code of the
//! process. In the jail such code keeps the descriptors that the process already has and
//! nothing else. It cannot open files or sockets, start programs or processes, signal
//! other processes, read their memory, or make new executable code.
//!
//! ```no_run
//! use std::os::fd::AsRawFd;
//!
//! use socketserver_jail::{Descriptors, Jail, JailMode, RequestKind, Role, ServedRequest};
//!
//! # fn serve(connection: &std::net::TcpStream) -> Result<(), socketserver_jail::JailError> {
//! // Once, in the process that forks.
//! let jail = Jail::new(JailMode::Require).prepare(Role::Request)?;
//! // Once more there, when its sockets are bound: the walls that all children share.
//! jail.restrict_parent()?;
//! // In each child, before any code of a handler runs.
//! let request =
//!     ServedRequest { kind: RequestKind::Connection, socket: connection.as_raw_fd() };
//! let report = jail.enter(Some(request), &Descriptors::All)?;
//! assert_eq!(report.to_string(), "jail: no_new_privs, rlimits, landlock 7, seccomp");
//! # Ok(())
//! # }
//! ```
//!
//! The jail has five walls, and each stands without the others:
//!
//! | wall | what it takes from the process | kernel interface |
//! |---|---|---|
//! | user | the rights of root: another user and group if asked for, and no capabilities | `setresuid(2)`, `capabilities(7)` |
//! | `no_new_privs` | privileges from programs; being debugged or dumped | `PR_SET_NO_NEW_PRIVS(2const)`, `PR_SET_DUMPABLE(2const)` |
//! | rlimits | descriptors, processes, locked memory, core files, files | `getrlimit(2)`; for root, `pid_namespaces(7)` |
//! | Landlock | files, TCP, abstract Unix sockets, and signals to other processes | `landlock(7)` |
//! | seccomp | all system calls except those that serving needs | `seccomp(2)` |
//!
//! [`Prepared::restrict_parent`] applies the walls that are the same for all children to
//! the process that forks, because a seccomp filter for each child costs the child four
//! times as much as all other walls.
//!
//! A system call that serving does not need fails with `EPERM`. A call that only an
//! attack would make, such as `ptrace` or `execve`, ends the process with `SIGSYS`, so
//! that the operator sees it.
//!
//! The jail does not limit how much CPU time or memory a handler uses: the engine does.
//! For native code, which the engine cannot interrupt, the jail can limit CPU time
//! (`RLIMIT_CPU`), and the process that forks can kill a child that only waits. The
//! address space is not limited where handlers run, because the engine reserves gigabytes
//! of it for each memory.
//!
//! [`Role::Compiler`] is for a process that reads a component from standard input and
//! writes machine code to standard output. It may do less than a process that serves,
//! and its memory and CPU time can be limited.
//!
//! [`Role::Broker`] is for a process that opens sockets for processes in the jail. It may open
//! every socket, so that its own checks decide, but it has no other files than those that are
//! granted, no programs and no new processes.
//!
//! # Where things are
//!
//! | file | contents |
//! |---|---|
//! | `config` | [`Jail`], the configuration, and its enums |
//! | `prepare` | [`Jail::prepare`], which builds every wall ahead of time |
//! | `parent` | [`Prepared::restrict_parent`]: the list of steps in the process that forks |
//! | `enter` | [`Prepared::enter`]: the list of steps in the process that enters |
//! | `walls/` | one file for each wall: user, privileges, rlimits, Landlock, descriptors |
//! | `walls/seccomp/` | tables of system calls, which process gets which, and the compiler of filters |
//! | `report`, `error` | which walls stand, and what can fail |
//! | `sys` | the unsafe code |
//!
//! Modules depend in one direction: `enter` and `parent`, then `prepare`, then `walls`,
//! then `config`, `error` and `sys`.

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod config;
mod enter;
mod error;
mod parent;
mod prepare;
mod report;
mod sys;
mod walls;

pub use config::{
    BrokeredSockets, Descriptors, Jail, JailMode, RequestKind, Role, ServedRequest, Transports,
};
pub use error::{JailError, UnknownMode, Wall};
pub use prepare::Prepared;
pub use report::Report;
pub use walls::user::{become_user, check_user};
