//! What a jail is to be, preparing it, entering it.

use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;

use rustix::process::{DumpableBehavior, getpid, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, secure_computing_mode, set_no_new_privs};
use seccompiler::{apply_filter, sock_filter};

use crate::calls;
use crate::error::{JailError, Wall};
use crate::files::Files;
use crate::filter;
use crate::limits::Limits;
use crate::parent::Parent;
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

/// What the request of a process is that is for one: see [`Prepared::enter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A connection, which is its own: nothing is sent to an address.
    Connection,
    /// A datagram. The process has it already: it may answer, and neither receive those
    /// of others from the socket that all share, nor change or end that.
    Datagram,
}

/// What is served in the jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Serves {
    /// Connections.
    #[default]
    Streams,
    /// Datagrams.
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
    /// Those that it has but these, which are closed as below, and so are those that
    /// its program was started with when it was [prepared](Jail::prepare).
    AllBut(&'a [RawFd]),
    /// Standard input, output and error, and these. The others are closed
    /// without their owners being told: they must not be used or dropped any
    /// more, as in a child that serves one request and ends with `_exit`.
    Only(&'a [RawFd]),
}

/// What a jail is to be.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each allows a call that another does not")]
pub struct Jail {
    /// Whether there is to be one.
    pub mode: Mode,
    /// The user and group, by number, to become where this process is root.
    /// `None` to stay who it is; capabilities are given up in any case.
    pub user: Option<(u32, u32)>,
    /// What is served.
    pub serves: Serves,
    /// Whether a worker takes Unix datagrams, and who sent them. Whoever breaks out
    /// could then receive descriptors from an accomplice.
    pub senders: bool,
    /// Whether clients of Unix sockets can pass descriptors, as the kernel does not refuse
    /// to (`SO_PASSRIGHTS`, Linux 6.16). Then connections are received from by `recvmsg`,
    /// and what was passed is closed after `SO_LINGER` was taken from it.
    pub takes_descriptors: bool,
    /// Whether a UDP socket has several addresses, and is told with each datagram
    /// which of them it is for.
    pub packet_info: bool,
    /// Whether answers over UDP name the address that they leave from, which takes
    /// `sendmsg`. Not where a Unix socket is served: native code could send descriptors
    /// over it to an accomplice outside of the jail.
    pub names_source: bool,
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
    /// no limit. It is never more than this process may use.
    pub cpu_seconds: Option<u64>,
}

impl Jail {
    /// A jail for connections, with no files, in which the user stays the same.
    pub fn new(mode: Mode) -> Self {
        Jail { mode, ..Jail::default() }
    }

    /// Whether requests come with more than their data, which takes `recvmsg`.
    pub(crate) fn receives_messages(&self) -> bool {
        self.senders || self.packet_info || self.takes_descriptors
    }

    /// Whether files can be opened in it.
    pub(crate) fn opens(&self) -> bool {
        !self.read_only.is_empty() || !self.read_write.is_empty()
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
            user::check_user(user, group)?;
        }
        let abi = sys::landlock_abi().map(Some).or_else(missing(Wall::Landlock))?;
        let files = abi.map(|abi| Ok((abi, Files::new(self)?))).transpose()?;
        let arch = secure_computing_mode()
            .map_err(Into::into)
            .and_then(|_| calls::ARCH.ok_or_else(|| std::io::ErrorKind::Unsupported.into()))
            .map(Some)
            .or_else(missing(Wall::Seccomp))?;
        let filters = arch.map(|arch| Filters::new(arch, self, kind));
        let limits = Limits::new(self, kind);
        let inherited = sys::inherited().map_err(JailError::failed(Wall::Descriptors))?;
        let parent = (kind == Kind::Request).then(|| Parent::new(self, arch));
        let user = self.user;
        Ok(Prepared { walls: Some(Walls { user, limits, inherited, files, filters, parent }) })
    }
}

/// A jail that is ready to be entered by each child of this process.
pub struct Prepared {
    walls: Option<Walls>,
}

struct Walls {
    user: Option<(u32, u32)>,
    limits: Limits,
    /// What this process was started with, beside the standard streams.
    inherited: Vec<RawFd>,
    files: Option<(u32, Files)>,
    filters: Option<Filters>,
    /// What may stand around the process that forks.
    parent: Option<Parent>,
}

/// A filter for a process that is for no request, for a connection, and for a datagram.
struct Filters([Vec<sock_filter>; 3]);

impl Filters {
    fn new(arch: u32, jail: &Jail, kind: Kind) -> Self {
        let requests = [None, Some(Request::Connection), Some(Request::Datagram)];
        Filters(
            requests.map(|request| filter::compile(arch, &calls::verdicts(jail, kind, request))),
        )
    }

    fn of(&self, request: Option<Request>) -> &[sock_filter] {
        &self.0[match request {
            None => 0,
            Some(Request::Connection) => 1,
            Some(Request::Datagram) => 2,
        }]
    }
}

impl Prepared {
    /// Puts up, around this process and for good, the walls that are the same for
    /// all its children, so that entering costs each of them less: to be called
    /// once, when it serves soon and forks for each request. It must have one
    /// thread.
    ///
    /// From then on it can take requests on the sockets that it has, read, write
    /// and wait on the descriptors that it has, fork, wait for its children and kill
    /// them; and do nothing else that a child may not do. It can open nothing. Of other
    /// kinds than [`Kind::Request`] and with [`Mode::Off`], nothing happens.
    ///
    /// Errors: a wall could not be put up. Some may stand: the process has to
    /// end.
    pub fn surround(&self) -> Result<(), JailError> {
        self.surround_with(true)
    }

    /// All but the last wall, which hides the others: for tests.
    #[doc(hidden)]
    pub fn surround_without_seccomp(&self) -> Result<(), JailError> {
        self.surround_with(false)
    }

    fn surround_with(&self, seccomp: bool) -> Result<(), JailError> {
        let Some(walls) = &self.walls else { return Ok(()) };
        let Some(parent) = &walls.parent else { return Ok(()) };
        let files = walls.files.as_ref().map(|(_, files)| files);
        parent.put_up(&walls.limits, files, seccomp)
    }

    /// Puts up the walls around this process, for good. It must have one thread:
    /// those that it starts later are in the jail, those that run are not.
    ///
    /// `request` is what the one request is of a process that is for one
    /// ([`Kind::Request`]), on which the calls depend that it may make, for a server may
    /// have several sockets. `None` for a process that is for none, or for many. What is
    /// not [served](Jail::serves) must not be named.
    ///
    /// Errors: a wall could not be put up. Some may stand: the process has to
    /// end.
    pub fn enter(
        &self,
        request: Option<Request>,
        descriptors: &Descriptors<'_>,
    ) -> Result<Report, JailError> {
        let mut report = self.enter_without_seccomp(descriptors)?;
        let Some(walls) = &self.walls else { return Ok(report) };
        if let Some(filters) = &walls.filters {
            let around = walls.parent.as_ref().and_then(Parent::around);
            if around.is_none_or(|around| around.own_filter.is_for(request)) {
                put_in_place(&filter::for_process(filters.of(request), getpid()))?;
            }
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
        let around = walls.parent.as_ref().and_then(Parent::around);
        if let Some(namespace) = around.and_then(|around| around.namespace.as_ref()) {
            sys::enter_namespace(namespace).map_err(JailError::failed(Wall::Processes))?;
        }
        if let Some((user, group)) = walls.user {
            user::become_user(user, group)?;
        }
        match around {
            None => give_up_rights(CapabilitySet::empty()).map(drop)?,
            Some(around) if around.has_capabilities => {
                user::drop_capabilities().map_err(JailError::failed(Wall::User))?;
            }
            Some(_) => {}
        }
        if let Some((_, files)) = &walls.files
            && !around.is_some_and(|around| around.landlock)
        {
            files.restrict()?;
        }
        let rules = walls.files.as_ref().map(|(_, files)| files.as_fd().as_raw_fd());
        let unneeded = walls.inherited.iter().copied().chain(rules);
        close(descriptors, unneeded).map_err(JailError::failed(Wall::Descriptors))?;
        let limited = JailError::failed(Wall::Limits);
        if around.is_none() {
            walls.limits.set_shared().map_err(&limited)?;
        }
        walls.limits.set_own().map_err(&limited)?;
        let landlock = walls.files.as_ref().map(|(abi, _)| *abi);
        Ok(Report { user: walls.user, no_new_privs: true, limits: true, landlock, seccomp: false })
    }
}

/// No capabilities but these, of which it returns those that there are; no
/// privileges from programs, no debugging.
pub(crate) fn give_up_rights(keep: CapabilitySet) -> Result<CapabilitySet, JailError> {
    let kept = user::keep_capabilities(keep).map_err(JailError::failed(Wall::User))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| set_no_new_privs(true))
        .map_err(JailError::failed(Wall::NoNewPrivs))?;
    Ok(kept)
}

/// Puts a program for seccomp in place.
pub(crate) fn put_in_place(program: &[sock_filter]) -> Result<(), JailError> {
    let error = |error| std::io::Error::other(format!("{error}"));
    apply_filter(program).map_err(|why| JailError::failed(Wall::Seccomp)(error(why)))
}

/// Closes what is not to be kept; `unneeded` is what nobody in the jail needs.
fn close(
    descriptors: &Descriptors<'_>,
    unneeded: impl Iterator<Item = RawFd>,
) -> std::io::Result<()> {
    match descriptors {
        Descriptors::All => Ok(()),
        Descriptors::Only(keep) => close_all_but(keep),
        Descriptors::AllBut(close) => {
            close.iter().copied().chain(unneeded).try_for_each(|fd| sys::close_inherited(fd, fd))
        }
    }
}

fn close_all_but(keep: &[RawFd]) -> std::io::Result<()> {
    // Nobody expects another thing in the place of these three.
    let mut next: RawFd = 3;
    let mut keep = keep.to_vec();
    keep.sort_unstable();
    for fd in keep.into_iter().filter(|fd| *fd >= 3) {
        if fd > next {
            sys::close_inherited(next, fd - 1)?;
        }
        next = fd + 1;
    }
    sys::close_inherited(next, RawFd::MAX)
}
