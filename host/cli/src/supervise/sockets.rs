//! The listening sockets of handlers. They stay open while generations come and go.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use socketserver::service::PassedSocket;
use socketserver::{Address, BoundSocket, HandlerError, Request, Server};

use super::description::{Descriptors, Received, SocketState};
use crate::config::Handler;
use crate::generation::MAX_SOCKETS;
use crate::serve::with_option;
use crate::settings::SocketSettings;
use crate::values::endpoint::Bind;

/// A listening socket, and what it was made from.
pub struct Listening {
    key: String,
    socket: BoundSocket,
    /// True if systemd has bound it.
    is_passed: bool,
}

impl Listening {
    /// Returns true if systemd has bound the socket, which then stays open in any case.
    pub fn is_passed(&self) -> bool {
        self.is_passed
    }

    /// Refuses clients from now on, in all processes that have the socket. TCP resets those in the
    /// queue.
    pub fn refuse(&self) {
        // Those of datagrams have no clients to refuse.
        let _ = shutdown(self.as_fd(), Shutdown::Read);
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Returns true if a client waits at the socket.
    pub fn has_clients(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}

/// Describes the sockets of a handler to the program that takes over from this one.
///
/// # Errors
///
/// The configuration of the handler is wrong.
pub fn hand_over<'a>(
    handler: &Handler,
    sockets: &'a [Rc<Listening>],
    fds: &mut Descriptors<'a>,
) -> Result<Vec<SocketState>> {
    let settings = handler.options.clone().settings()?.sockets;
    let keys = keys(handler, &settings);
    let mut states = Vec::new();
    for socket in sockets {
        let bind = keys.iter().position(|(_, key)| *key == socket.key);
        let endpoint = socket.socket.endpoint();
        let bind = bind.with_context(|| format!("no `bind` has the socket {endpoint}"))?;
        states.push(SocketState { fd: fds.add(socket.as_fd()), bind, is_passed: socket.is_passed });
    }
    Ok(states)
}

/// Takes over the sockets of a handler.
///
/// # Errors
///
/// The description is wrong.
pub fn take_over(
    handler: &Handler,
    states: &[SocketState],
    fds: &mut Received,
) -> Result<Vec<Rc<Listening>>> {
    ensure!(states.len() <= MAX_SOCKETS, "a handler has at most {MAX_SOCKETS} sockets");
    let settings = handler.options.clone().settings()?.sockets;
    let keys = keys(handler, &settings);
    let take_over = |state: &SocketState| {
        let SocketState { fd, bind, is_passed } = *state;
        let (_, key) = keys.get(bind).context("a socket has no `bind`")?;
        let socket = BoundSocket::try_from(fds.take(fd)?).context("it is no listening socket")?;
        Ok(Rc::new(Listening { key: key.clone(), socket, is_passed }))
    };
    states.iter().map(take_over).collect()
}

/// Returns the sockets of a handler. Those that are in `open` are not bound again.
pub fn listen(
    handler: &Handler,
    open: &[Rc<Listening>],
    passed: &mut Vec<PassedSocket>,
) -> Result<Vec<Rc<Listening>>> {
    let settings = handler.options.clone().settings()?.sockets;
    let mut sockets = Vec::new();
    for (bind, key) in keys(handler, &settings) {
        let old: Vec<_> = open.iter().filter(|socket| socket.key == key).cloned().collect();
        if !old.is_empty() {
            sockets.extend(old);
            continue;
        }
        let new = match bind {
            Bind::Address(endpoint) => {
                let nothing = |_: &Request, _: &Address, _: &_| Ok::<(), HandlerError>(());
                let builder = settings.apply(Server::builder(nothing)).bind(endpoint.clone());
                builder.bind_only().map_err(with_option)?
            }
            Bind::Passed { name, .. } => take(passed, name.as_deref())?,
        };
        let is_passed = matches!(bind, Bind::Passed { .. });
        let listening =
            |socket: BoundSocket| Rc::new(Listening { key: key.clone(), socket, is_passed });
        sockets.extend(new.into_iter().map(listening));
    }
    ensure!(sockets.len() <= MAX_SOCKETS, "a handler has at most {MAX_SOCKETS} sockets");
    Ok(sockets)
}

/// Returns true for each of these sockets that the handler serves with TLS, where the handler names
/// some. The same socket may have none with the next generation.
pub fn have_tls(handler: &Handler, sockets: &[&Listening]) -> Result<Vec<bool>> {
    let settings = handler.options.clone().settings()?.sockets;
    let keys = keys(handler, &settings);
    let have = |key: &str| keys.iter().any(|(bind, other)| bind.has_tls() && other == key);
    Ok(sockets.iter().map(|socket| have(&socket.key)).collect())
}

/// Returns the URLs of these sockets, as the handler serves them.
pub fn urls(handler: &Handler, sockets: &[Rc<Listening>]) -> Vec<String> {
    let listening: Vec<_> = sockets.iter().map(|socket| &**socket).collect();
    let named = have_tls(handler, &listening).unwrap_or_default();
    let are_all = !handler.options.server.tls.tls_cert.is_empty() && !named.contains(&true);
    let url = |(at, socket): (usize, &Rc<Listening>)| {
        let has_tls = are_all || named.get(at) == Some(&true);
        socket.socket.endpoint().clone().with_tls(has_tls).to_string()
    };
    sockets.iter().enumerate().map(url).collect()
}

/// Takes the passed sockets of that name, or all that are left.
fn take(passed: &mut Vec<PassedSocket>, name: Option<&str>) -> Result<Vec<BoundSocket>> {
    let is_wanted = |socket: &mut PassedSocket| name.is_none_or(|name| socket.name == name);
    let taken: Vec<_> = passed.extract_if(.., is_wanted).collect();
    let shown = name.unwrap_or_default();
    ensure!(!taken.is_empty(), "systemd has passed no socket that systemd://{shown} can take");
    let bound = |PassedSocket { name, fd }: PassedSocket| {
        BoundSocket::try_from(fd).with_context(|| format!("cannot serve the socket `{name}`"))
    };
    taken.into_iter().map(bound).collect()
}

/// Returns the addresses of a handler, each with a text that differs between sockets that differ. TLS
/// is not a part of a socket.
fn keys<'a>(handler: &'a Handler, settings: &SocketSettings) -> Vec<(&'a Bind, String)> {
    let SocketSettings { request_queue_size, allow_reuse_address, allow_reuse_port, .. } = settings;
    let own =
        (request_queue_size, allow_reuse_address, allow_reuse_port, settings.mode, settings.owner);
    let all = &handler.options.server.listening.bind;
    let key = |(at, bind): (usize, &'a Bind)| {
        let plain = bind.without_tls();
        let address = bind.address().and_then(|end| end.address().to_socket_addr());
        // Each address with a free port has a port of its own.
        let free = address.filter(|address| address.port() == 0).map(|_| {
            let before = all[..at].iter().filter(|other| other.without_tls() == plain).count();
            (&*handler.name, before)
        });
        (bind, format!("{free:?} {plain} {own:?}"))
    };
    all.iter().enumerate().map(key).collect()
}

/// Returns an error if a socket that was passed has no handler.
pub fn check_left(passed: &[PassedSocket]) -> Result<()> {
    match passed.first() {
        Some(socket) => Err(anyhow!("no handler takes the socket `{}` of systemd", socket.name)),
        None => Ok(()),
    }
}
