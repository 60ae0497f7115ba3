//! A jail for processes that were forked to serve requests.
//!
//! What runs in such a process is a WebAssembly engine, and whoever breaks out
//! of that runs native code. In the jail this code holds the connections that
//! the process has, and nothing else: it can open no file and no socket, start
//! no program and no process, signal nobody, look into nobody's memory, and make
//! no new code.
//!
//! ```no_run
//! use socketserver_jail::{Descriptors, Jail, Kind, Mode, Request};
//!
//! # fn main() -> Result<(), socketserver_jail::JailError> {
//! // Once, in the process that forks.
//! let jail = Jail::new(Mode::Require).prepare(Kind::Request)?;
//! // There too, when its sockets are bound: it does without what no child needs.
//! jail.surround()?;
//! // In each child, before anything of a handler runs.
//! let report = jail.enter(Some(Request::Connection), &Descriptors::All)?;
//! assert_eq!(report.to_string(), "jail: no_new_privs, rlimits, landlock 7, seccomp");
//! # Ok(())
//! # }
//! ```
//!
//! It has five walls, each of which stands without the others:
//!
//! | wall | what it keeps from the process | where that comes from |
//! |---|---|---|
//! | user | the rights of root: another user and group if wished, and no capabilities | `setresuid(2)`, `capabilities(7)` |
//! | `no_new_privs` | getting rights from programs; being debugged or dumped | `PR_SET_NO_NEW_PRIVS(2const)`, `PR_SET_DUMPABLE(2const)` |
//! | rlimits | descriptors, processes, locked memory, core files, files | `getrlimit(2)`; for root, `pid_namespaces(7)` |
//! | Landlock | files, TCP, abstract Unix sockets and signals of others | `landlock(7)` |
//! | seccomp | all system calls but those that serving needs | `seccomp(2)` |
//!
//! Whatever of it is the same for all children may be put up once, around the
//! process that forks ([`Prepared::surround`]). A filter for each child costs it
//! four times as much as all other walls.
//!
//! A system call that serving does not need fails with `EPERM`. One that nothing
//! but an attack would try, such as `ptrace` or `execve`, ends the process with
//! `SIGSYS`, so that somebody notices.
//!
//! A handler that exhausts the processor or the memory is not the jail's concern: the
//! engine sees to that. For native code, which the engine cannot end any more, CPU time
//! can be limited (`RLIMIT_CPU`); the process that forks can kill a child that only waits.
//! The address space is not limited where handlers run, because the engine reserves
//! gigabytes of it for each memory.
//!
//! Compiling a component is a second thing that may go wrong: [`Kind::Compile`]
//! is for a process that reads a component from standard input and writes
//! machine code to standard output. It can do less than one that serves, and its
//! memory and CPU time can be limited.
//!
//! # Where things are
//!
//! | file | what it holds |
//! |---|---|
//! | `jail` | what a jail is to be, preparing it, entering it |
//! | `parent` | the walls around the process that forks |
//! | `report`, `error` | which walls stand, and what can go wrong |
//! | `user` | becoming another user, for good |
//! | `limits` | rlimits |
//! | `files` | Landlock |
//! | `calls`, `filter` | the system calls that are allowed, and a program for seccomp |
//! | `sys` | the unsafe code |

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod calls;
mod error;
mod files;
mod filter;
mod jail;
mod limits;
mod parent;
mod report;
mod sys;
mod user;

pub use error::{JailError, Wall};
pub use jail::{Descriptors, Jail, Kind, Mode, Prepared, Request, Serves};
pub use report::Report;
pub use user::{become_user, check_user};
