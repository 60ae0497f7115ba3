//! `generation`: the hidden command of a process that serves, or tries, one handler of a
//! configuration.
//!
//! Its standard input is a door: a Unix socket of the process that has started it. The arguments
//! of `serve` and the listening sockets come through the door in one message, and reports as
//! systemd has them go back. The arguments of a process would show to all users of the machine,
//! and may contain variables of the handler.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::cmsg_space;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use socketserver::service::PassedSocket;

use crate::config::Handler;
use crate::options::{GenerationOptions, ServeOptions, parse_serve};
use crate::serve;
use crate::serve::service::ServiceManager;
use crate::settings::Settings;

/// The most bytes of arguments.
const MAX_ARGUMENTS: u64 = 8 << 20;

/// The most sockets of one handler.
pub const MAX_SOCKETS: usize = 64;

/// The space for the descriptors of a message: the arguments, the counters and the sockets.
const SPACE: usize = cmsg_space!(ScmRights(2 + MAX_SOCKETS));

/// Returns the command that starts a process for a handler, and the other side of its door.
/// The process gets these arguments of `serve`, and these sockets, whose names are their
/// numbers, and the file of the counters, if someone looks at them.
///
/// # Errors
///
/// There is no memory for the arguments, or no descriptor is free.
pub fn command(
    handler: &Handler,
    arguments: &[String],
    sockets: &[BorrowedFd<'_>],
    counters: Option<BorrowedFd<'_>>,
) -> Result<(Command, UnixDatagram)> {
    let mut file = File::from(memfd_create("arguments", MemfdFlags::CLOEXEC)?);
    // Each is followed by a zero, which none contains.
    let text = arguments.iter().fold(String::new(), |text, argument| text + argument + "\0");
    file.write_all(text.as_bytes()).and_then(|()| file.rewind()).context("no room for options")?;
    let (door, other) = UnixDatagram::pair()?;
    door.set_nonblocking(true)?;
    ensure!(sockets.len() <= MAX_SOCKETS, "a handler has at most {MAX_SOCKETS} sockets");
    let others = counters.into_iter().chain(sockets.iter().copied());
    let fds: Vec<_> = std::iter::once(file.as_fd()).chain(others).collect();
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    ensure!(control.push(SendAncillaryMessage::ScmRights(&fds)), "too many sockets");
    sendmsg(&door, &[IoSlice::new(b"-")], &mut control, SendFlags::empty())?;
    // This path leads to this program also if its file has been replaced.
    let mut command = Command::new("/proc/self/exe");
    command.arg("generation").arg(&handler.name).current_dir(&handler.folder);
    command.args(counters.map(|_| "--counted"));
    command.stdin(OwnedFd::from(other));
    Ok((command, door))
}

/// The sockets and the connection that a process was given through its door.
pub struct Given {
    /// The options of `serve`.
    pub options: ServeOptions,
    /// The listening sockets.
    pub sockets: Vec<PassedSocket>,
    /// The file of the counters.
    counters: Option<OwnedFd>,
    /// The door.
    door: UnixDatagram,
}

/// Receives what comes through the door, which is standard input.
///
/// # Errors
///
/// Standard input is something else, or has other content.
pub fn receive(counted: bool) -> Result<Given> {
    let stdin = io::stdin();
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [0; 1];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(&stdin, &mut [IoSliceMut::new(&mut data)], &mut control, flags);
    let received = received.context("`up` and `check` start this command")?;
    ensure!(!received.flags.contains(ReturnFlags::CTRUNC), "a descriptor was lost");
    let mut fds = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
        _ => Vec::new(),
    });
    let Some(arguments) = fds.next() else { bail!("there are no arguments") };
    let counters = if counted { fds.next() } else { None };
    let sockets = fds.enumerate().map(|(at, fd)| PassedSocket { name: at.to_string(), fd });
    let sockets = sockets.collect();
    let mut text = String::new();
    File::from(arguments).take(MAX_ARGUMENTS).read_to_string(&mut text)?;
    let arguments: Vec<_> = text.split_terminator('\0').map(str::to_owned).collect();
    let options = parse_serve(&arguments);
    let options = options.map_err(|error| anyhow!("{}", error.to_string().trim_end()))?;
    Ok(Given { options, sockets, counters, door: stdin.as_fd().try_clone_to_owned()?.into() })
}

/// Serves, or tries, a handler.
///
/// # Errors
///
/// The handler cannot be served.
pub fn run(options: &GenerationOptions, settings: Settings, parts: Parts) -> Result<ExitCode> {
    if options.check {
        serve::check_handler(&settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Parts { sockets, counters, door } = parts;
    let manager = ServiceManager::of_parent(door)?;
    let generation = options.number;
    serve::serve(settings, serve::Given { sockets, manager, generation, counters })?;
    Ok(ExitCode::SUCCESS)
}

/// The things that a process was given beside its options.
pub struct Parts {
    sockets: Vec<PassedSocket>,
    counters: Option<OwnedFd>,
    door: UnixDatagram,
}

impl Given {
    /// Returns the options, and what else the process was given.
    pub fn into_parts(self) -> (ServeOptions, Parts) {
        let Given { options, sockets, counters, door } = self;
        (options, Parts { sockets, counters, door })
    }
}
