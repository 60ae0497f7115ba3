//! The control socket: a Unix socket that only the user of the supervisor can open. A client
//! writes one word in a line, and reads one JSON object.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use socketserver::{Address, Endpoint, HandlerError, Request as Connection, Server, UnixAddress};

use super::description::{ControlState, Descriptors, Received};
use crate::report::printable_path;

/// The most clients at once.
const MAX_CLIENTS: usize = 16;

/// The time in which a client asks.
const LONGEST: Duration = Duration::from_secs(5);

/// The longest word.
const MAX_WORD: usize = 128;

/// The answer of the supervisor to all words but `status`, and to what it does not know.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    /// The problems, if there were any.
    pub problems: Vec<String>,
}

impl Done {
    /// Returns an answer with one problem.
    pub fn failed(problem: impl Into<String>) -> Done {
        Done { problems: vec![problem.into()] }
    }
}

/// The control socket of a supervisor.
pub struct Control {
    listener: UnixListener,
    asking: Vec<(Client, String, Instant)>,
    reloading: Vec<Client>,
    /// Clients that wait until another program has taken over and has replaced all handlers.
    upgrading: Vec<Client>,
    stopping: Vec<Client>,
    /// Clients that wait until a handler is drained, or all.
    draining: Vec<(Client, Option<String>)>,
}

/// A request of a client.
pub enum Request {
    Status(Client),
    Reload(Client),
    Upgrade(Client),
    Stop(Client),
    /// Drain a handler, or all.
    Drain(Client, Option<String>),
    UndoDrain(Client, Option<String>),
}

/// The connection of a client.
pub struct Client(UnixStream);

impl Client {
    /// Answers, and closes the connection. A client that does not read gets less.
    pub fn answer(mut self, answer: &impl Serialize) {
        let mut text = serde_json::to_string(answer).unwrap_or_default();
        text.push('\n');
        let _ = self.0.write(text.as_bytes());
    }
}

impl Control {
    /// Binds the socket. The file of a supervisor that has ended is removed.
    ///
    /// # Errors
    ///
    /// It cannot be bound, as when another supervisor has it.
    pub fn bind(path: &Path) -> Result<Control> {
        let nothing = |_: &Connection, _: &Address, _: &_| Ok::<(), HandlerError>(());
        let socket = Server::builder(nothing)
            .bind(Endpoint::unix(UnixAddress::Pathname(path.to_owned())))
            .socket_mode(0o600)
            .remove_stale_socket(true)
            .bind_only();
        let failed = || format!("cannot bind the control socket `{}`", printable_path(path));
        let mut sockets = socket.with_context(failed)?;
        let socket = sockets.pop().with_context(failed)?;
        let listener = UnixListener::from(OwnedFd::from(socket));
        Ok(Control::at(listener))
    }

    fn at(listener: UnixListener) -> Control {
        let (asking, reloading, upgrading, stopping, draining) = Default::default();
        Control { listener, asking, reloading, upgrading, stopping, draining }
    }

    /// Describes the socket and its clients to the program that takes over from this one.
    pub fn hand_over<'a>(&'a self, fds: &mut Descriptors<'a>) -> ControlState {
        let asking = self.asking.iter();
        let reloading = self.reloading.iter().chain(&self.upgrading);
        let draining = self.draining.iter();
        ControlState {
            listener: fds.add(self.listener.as_fd()),
            asking: asking.map(|(it, word, _)| (fds.add(it.0.as_fd()), word.clone())).collect(),
            reloading: reloading.map(|client| fds.add(client.0.as_fd())).collect(),
            draining: draining.map(|(it, name)| (fds.add(it.0.as_fd()), name.clone())).collect(),
        }
    }

    /// Takes over a socket and its clients.
    ///
    /// # Errors
    ///
    /// The description is wrong.
    pub fn take_over(state: ControlState, fds: &mut Received) -> Result<Control> {
        let mut client = |fd| {
            let stream = UnixStream::from(fds.take(fd)?);
            stream.set_nonblocking(true)?;
            anyhow::Ok(Client(stream))
        };
        let listener = UnixListener::from(OwnedFd::from(client(state.listener)?.0));
        let mut control = Control::at(listener);
        let deadline = Instant::now() + LONGEST;
        for (fd, word) in state.asking {
            control.asking.push((client(fd)?, word, deadline));
        }
        for fd in state.reloading {
            control.reloading.push(client(fd)?);
        }
        for (fd, name) in state.draining {
            control.draining.push((client(fd)?, name));
        }
        Ok(control)
    }

    /// Returns the descriptors that become readable when a client comes or asks.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let asking = self.asking.iter().map(|(client, ..)| client.0.as_fd());
        let has_room = self.asking.len() < MAX_CLIENTS;
        has_room.then(|| self.listener.as_fd()).into_iter().chain(asking)
    }

    /// Returns the time at which a client has asked for too long.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.asking.iter().map(|(.., deadline)| *deadline).min()
    }

    /// Returns what clients ask for.
    pub fn requests(&mut self) -> Vec<Request> {
        while self.asking.len() < MAX_CLIENTS {
            let Ok((stream, _)) = self.listener.accept() else { break };
            if stream.set_nonblocking(true).is_ok() {
                let deadline = Instant::now() + LONGEST;
                self.asking.push((Client(stream), String::new(), deadline));
            }
        }
        let mut requests = Vec::new();
        for (mut client, mut word, deadline) in std::mem::take(&mut self.asking) {
            let mut bytes = [0; MAX_WORD];
            let is_open = match client.0.read(&mut bytes) {
                Ok(0) => false,
                Ok(count) => {
                    word.push_str(&String::from_utf8_lossy(&bytes[..count]));
                    true
                }
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            };
            let line =
                word.strip_suffix('\n').map(|line| line.split_once(' ').unwrap_or((line, "")));
            let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
            match line {
                Some(("status", "")) => requests.push(Request::Status(client)),
                Some(("reload", "")) => requests.push(Request::Reload(client)),
                Some(("upgrade", "")) => requests.push(Request::Upgrade(client)),
                Some(("stop", "")) => requests.push(Request::Stop(client)),
                Some(("drain", handler)) => requests.push(Request::Drain(client, name(handler))),
                Some(("undo-drain", handler)) => {
                    requests.push(Request::UndoDrain(client, name(handler)));
                }
                Some(_) => client.answer(&Done::failed(
                    "the words are status, reload, upgrade, stop, drain and undo-drain",
                )),
                None if is_open && word.len() <= MAX_WORD && deadline > Instant::now() => {
                    self.asking.push((client, word, deadline));
                }
                None => {}
            }
        }
        requests
    }

    /// Keeps a client until the reload has ended.
    pub fn wait_for_reload(&mut self, client: Client) {
        self.reloading.push(client);
    }

    /// Keeps a client until another program has taken over.
    pub fn wait_for_upgrade(&mut self, client: Client) {
        self.upgrading.push(client);
    }

    /// Answers those that wait for another program, which does not take over.
    pub fn upgrade_failed(&mut self, why: &str) {
        for client in self.upgrading.drain(..) {
            client.answer(&Done::failed(why));
        }
    }

    /// Keeps a client until the supervisor ends.
    pub fn wait_for_stop(&mut self, client: Client) {
        self.stopping.push(client);
    }

    /// Keeps a client until a handler is drained, or all are.
    pub fn wait_for_drain(&mut self, client: Client, name: Option<String>) {
        self.draining.push((client, name));
    }

    /// Answers those that wait for handlers that are drained now, or serve again.
    pub fn drained(&mut self, drained: impl Fn(Option<&str>) -> Option<Result<(), String>>) {
        for (client, name) in std::mem::take(&mut self.draining) {
            match drained(name.as_deref()) {
                None => self.draining.push((client, name)),
                Some(Ok(())) => client.answer(&Done { problems: Vec::new() }),
                Some(Err(problem)) => client.answer(&Done::failed(problem)),
            }
        }
    }

    /// Answers those that wait for the reload.
    pub fn reloaded(&mut self, problems: &[String]) {
        for client in self.reloading.drain(..) {
            client.answer(&Done { problems: problems.to_vec() });
        }
    }

    /// Answers those that wait for the end.
    pub fn stopped(&mut self) {
        self.reloaded(&["the server has ended".to_owned()]);
        self.upgrade_failed("the server has ended");
        for (client, _) in self.draining.drain(..) {
            client.answer(&Done::failed("the server has ended"));
        }
        for client in self.stopping.drain(..) {
            client.answer(&Done { problems: Vec::new() });
        }
    }
}
