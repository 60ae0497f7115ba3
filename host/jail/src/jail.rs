//! What a jail is to be, preparing it, entering it.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::PathBuf;

use rustix::process::{DumpableBehavior, getpid, set_dumpable_behavior};
use rustix::thread::{secure_computing_mode, set_no_new_privs};
use seccompiler::{apply_filter, sock_filter};

use crate::calls;
use crate::error::{JailError, Wall};
use crate::files::Files;
use crate::filter;
use crate::limits::Limits;
use crate::report::Report;
use crate::sys;
use crate::user;

/// Whether there is to be a jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// All of it, or no process that serves.
    #[default]
    Require,
    /// Whatever this kernel offers.
    Try,
    /// None.
    Off,
}

/// What runs in the jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One request, in one thread.
    Request,
    /// A worker, which accepts connections and starts threads.
    Worker,
    /// A compiler: it reads standard input, writes standard output and standard
    /// error, and has one thread. What is served does not matter to it.
    Compile,
}

/// What is served in the jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Serves {
    /// Connections: nothing is sent to an address.
    #[default]
    Streams,
    /// Datagrams. A process for one of them has it already: it may not receive
    /// those of others from the socket that all share.
    Datagrams,
    /// Both.
    Both,
}

impl Serves {
    pub(crate) fn streams(self) -> bool {
        self != Serves::Datagrams
    }

    pub(crate) fn datagrams(self) -> bool {
        self != Serves::Streams
    }
}

/// Which descriptors a process keeps when it enters.
#[derive(Debug, Clone, Copy)]
pub enum Descriptors<'a> {
    /// Those that it has.
    All,
    /// Standard input, output and error, and these. The others are closed
    /// without their owners being told: they must not be used or dropped any
    /// more, as in a child that serves one request and ends with `_exit`.
    Only(&'a [BorrowedFd<'a>]),
}

/// What a jail is to be.
#[derive(Debug, Clone, Default)]
pub struct Jail {
    /// Whether there is to be one.
    pub mode: Mode,
    /// The user and group, by number, to become where this process is root.
    /// `None` to stay who it is; capabilities are given up in any case.
    pub user: Option<(u32, u32)>,
    /// What is served.
    pub serves: Serves,
    /// Files and directories that may be read.
    pub read_only: Vec<PathBuf>,
    /// Files and directories that may be read and changed.
    pub read_write: Vec<PathBuf>,
    /// How much address space the process may have, in bytes (`RLIMIT_AS`):
    /// beyond it, it gets no more memory. `None` for no limit, as the engine needs
    /// that serves: it reserves gigabytes for each memory.
    pub address_space: Option<u64>,
    /// How much CPU time the process may use, in seconds (`RLIMIT_CPU`): after
    /// that it is ended by `SIGXCPU`, and a second later by `SIGKILL`. `None` for
    /// no limit.
    pub cpu_seconds: Option<u64>,
}

impl Jail {
    /// A jail for connections, with no files, in which the user stays the same.
    pub fn new(mode: Mode) -> Self {
        Jail { mode, ..Jail::default() }
    }

    /// Which walls this kernel offers. Nothing is put up.
    pub fn probe() -> Report {
        Report {
            user: None,
            no_new_privs: rustix::thread::no_new_privs().is_ok(),
            limits: true,
            landlock: sys::landlock_abi().ok(),
            seccomp: secure_computing_mode().is_ok() && calls::ARCH.is_some(),
        }
    }

    /// Makes all that can be made ahead, so that entering is cheap: to be called
    /// once, in the process that forks.
    ///
    /// Errors: with [`Mode::Require`], this kernel does not offer a wall. With
    /// it and with [`Mode::Try`], a path cannot be opened, or the user cannot be
    /// had.
    pub fn prepare(&self, kind: Kind) -> Result<Prepared, JailError> {
        let off = self.mode == Mode::Off;
        let missing = |wall| {
            move |why| match self.mode {
                Mode::Require => Err(JailError::Missing { wall, why }),
                Mode::Try | Mode::Off => Ok(None),
            }
        };
        if off {
            return Ok(Prepared { walls: None });
        }
        if let Some((user, group)) = self.user {
            user::check(user, group)?;
        }
        let abi = sys::landlock_abi().map(Some).or_else(missing(Wall::Landlock))?;
        let files = abi.map(|abi| Ok((abi, Files::new(self)?))).transpose()?;
        let arch = secure_computing_mode()
            .map_err(Into::into)
            .and_then(|_| calls::ARCH.ok_or_else(|| std::io::ErrorKind::Unsupported.into()))
            .map(Some)
            .or_else(missing(Wall::Seccomp))?;
        let filter = arch.map(|arch| filter::compile(arch, &calls::verdicts(self, kind)));
        let limits = Limits::new(self, kind);
        Ok(Prepared { walls: Some(Walls { user: self.user, limits, files, filter }) })
    }
}

/// A jail that is ready to be entered by each child of this process.
pub struct Prepared {
    walls: Option<Walls>,
}

struct Walls {
    user: Option<(u32, u32)>,
    limits: Limits,
    files: Option<(u32, Files)>,
    filter: Option<Vec<sock_filter>>,
}

impl Prepared {
    /// Puts up the walls around this process, for good. It must have one thread:
    /// those that it starts later are in the jail, those that run are not.
    ///
    /// Errors: a wall could not be put up. Some may stand: the process has to
    /// end.
    pub fn enter(&self, descriptors: &Descriptors<'_>) -> Result<Report, JailError> {
        let mut report = self.enter_without_seccomp(descriptors)?;
        let filter = self.walls.as_ref().and_then(|walls| walls.filter.as_ref());
        if let Some(filter) = filter {
            let error = |error| std::io::Error::other(format!("{error}"));
            apply_filter(&filter::for_process(filter, getpid()))
                .map_err(|why| JailError::failed(Wall::Seccomp)(error(why)))?;
            report.seccomp = true;
        }
        Ok(report)
    }

    /// All but the last wall, which hides the others: for tests.
    #[doc(hidden)]
    pub fn enter_without_seccomp(
        &self,
        descriptors: &Descriptors<'_>,
    ) -> Result<Report, JailError> {
        let Some(walls) = &self.walls else { return Ok(Report::default()) };
        if let Some((user, group)) = walls.user {
            user::become_user(user, group)?;
        }
        user::drop_capabilities().map_err(JailError::failed(Wall::User))?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .and_then(|()| set_no_new_privs(true))
            .map_err(JailError::failed(Wall::NoNewPrivs))?;
        // Before the limits: it takes a descriptor, for a moment.
        if let Some((_, files)) = &walls.files {
            files.restrict()?;
        }
        if let Descriptors::Only(keep) = descriptors {
            close_all_but(keep).map_err(JailError::failed(Wall::Descriptors))?;
        }
        walls.limits.set().map_err(JailError::failed(Wall::Limits))?;
        let landlock = walls.files.as_ref().map(|(abi, _)| *abi);
        Ok(Report { user: walls.user, no_new_privs: true, limits: true, landlock, seccomp: false })
    }
}

fn close_all_but(keep: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    // Nobody expects another thing in the place of these three.
    let mut next: RawFd = 3;
    let mut keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    keep.sort_unstable();
    for fd in keep.into_iter().filter(|fd| *fd >= 3) {
        if fd > next {
            sys::close_inherited(next, fd - 1)?;
        }
        next = fd + 1;
    }
    sys::close_inherited(next, RawFd::MAX)
}
