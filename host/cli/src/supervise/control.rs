//! The control socket: a Unix socket that only the user of the supervisor can open. A client
//! writes one word in a line, and reads one JSON object.
//!
//! The clients have bounds: in number while they ask, wait or read, in time while they ask or
//! read, and in bytes. The loop of the supervisor waits for none of them.

use std::io::{ErrorKind, Read};
use std::mem::discriminant;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::PollFlags;
use serde::{Deserialize, Serialize};
use socketserver::{Address, Endpoint, HandlerError, Request as Connection, Server, UnixAddress};

use super::answers::{Answers, Client};
use super::description::{ControlState, Descriptors, Received};
use crate::report::printable_path;

/// The most clients that have not said what they want. One more takes the place of the oldest.
const MAX_CLIENTS: usize = 16;

/// The most clients that wait for the end of the same kind of work.
const MAX_WAITING: usize = 32;

/// The time in which a client asks.
const LONGEST: Duration = Duration::from_secs(5);

/// The pause after a client could not be accepted, as when no descriptor is free.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest line, in bytes.
const MAX_LINE: usize = 128;

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
    /// The time until which no client is accepted.
    paused_until: Option<Instant>,
    asking: Vec<(Client, Vec<u8>, Instant)>,
    reloading: Vec<Client>,
    /// Clients that wait until another program has taken over and has replaced all handlers.
    upgrading: Vec<Client>,
    stopping: Vec<Client>,
    /// Clients that wait until a handler is drained, or all.
    draining: Vec<(Client, Option<String>)>,
    answers: Answers,
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

impl Request {
    fn into_client(self) -> Client {
        match self {
            Request::Status(client)
            | Request::Reload(client)
            | Request::Upgrade(client)
            | Request::Stop(client)
            | Request::Drain(client, _)
            | Request::UndoDrain(client, _) => client,
        }
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
        Control {
            listener,
            paused_until: None,
            asking: Vec::new(),
            reloading: Vec::new(),
            upgrading: Vec::new(),
            stopping: Vec::new(),
            draining: Vec::new(),
            answers: Answers::default(),
        }
    }

    /// Describes the socket and its clients to the program that takes over from this one.
    pub fn hand_over<'a>(&'a self, fds: &mut Descriptors<'a>) -> ControlState {
        let asking = self.asking.iter();
        let reloading = self.reloading.iter().chain(&self.upgrading);
        let draining = self.draining.iter();
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        ControlState {
            listener: fds.add(self.listener.as_fd()),
            asking: asking.map(|(it, line, _)| (fds.add(it.as_fd()), text(line))).collect(),
            reloading: reloading.map(|client| fds.add(client.as_fd())).collect(),
            draining: draining.map(|(it, name)| (fds.add(it.as_fd()), name.clone())).collect(),
        }
    }

    /// Takes over a socket and its clients.
    ///
    /// # Errors
    ///
    /// The description is wrong.
    pub fn take_over(state: ControlState, fds: &mut Received) -> Result<Control> {
        let listener = UnixListener::from(fds.take(state.listener)?);
        listener.set_nonblocking(true)?;
        let mut client = |fd| {
            let stream = UnixStream::from(fds.take(fd)?);
            stream.set_nonblocking(true)?;
            anyhow::Ok(Client(stream))
        };
        let mut control = Control::at(listener);
        let deadline = Instant::now() + LONGEST;
        for (fd, line) in state.asking {
            control.asking.push((client(fd)?, line.into_bytes(), deadline));
        }
        for fd in state.reloading {
            control.reloading.push(client(fd)?);
        }
        for (fd, name) in state.draining {
            control.draining.push((client(fd)?, name));
        }
        Ok(control)
    }

    /// Returns the descriptors, and the events at which a client comes, asks or reads.
    pub fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let listener = self.paused_until.is_none().then(|| self.listener.as_fd());
        let asking = self.asking.iter().map(|(client, ..)| client.as_fd());
        let readable = listener.into_iter().chain(asking).map(|fd| (fd, PollFlags::IN));
        readable.chain(self.answers.descriptors().map(|fd| (fd, PollFlags::OUT)))
    }

    /// Returns the time at which a client has asked or read for too long.
    pub fn next_deadline(&self) -> Option<Instant> {
        let asking = self.asking.iter().map(|(.., deadline)| *deadline);
        asking.chain(self.paused_until).chain(self.answers.next_deadline()).min()
    }

    /// Returns true if a client has not read the whole of its answer.
    pub fn is_answering(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Answers, and closes the connection when the client has read all, or its time is over.
    pub fn answer(&mut self, client: Client, answer: &impl Serialize) {
        self.answers.send(client, answer, Instant::now());
    }

    /// Returns the requests of clients. Goes on with the answers.
    pub fn requests(&mut self) -> Vec<Request> {
        let now = Instant::now();
        self.answers.go_on(now);
        let mut requests = self.read(now);
        self.accept(now);
        requests.extend(self.read(now));
        requests
    }

    /// Accepts clients, of which those that have not said all by then have been read.
    fn accept(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|end| end > now) {
            return;
        }
        let was_paused = self.paused_until.take().is_some();
        for _ in 0..MAX_CLIENTS {
            match self.listener.accept() {
                Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                    if self.asking.len() >= MAX_CLIENTS {
                        let (oldest, ..) = self.asking.remove(0);
                        self.answer(oldest, &Done::failed("too many clients ask at once"));
                    }
                    self.asking.push((Client(stream), Vec::new(), now + LONGEST));
                }
                Ok(_) => {}
                Err(error) => {
                    let is_harmless = matches!(
                        error.kind(),
                        ErrorKind::WouldBlock
                            | ErrorKind::Interrupted
                            | ErrorKind::ConnectionAborted
                    );
                    if !is_harmless {
                        if !was_paused {
                            tracing::warn!("cannot accept clients of the control socket: {error}");
                        }
                        self.paused_until = Some(now + PAUSE);
                    }
                    return;
                }
            }
        }
    }

    /// Reads the lines of clients.
    fn read(&mut self, now: Instant) -> Vec<Request> {
        let mut requests = Vec::new();
        for (mut client, mut line, deadline) in std::mem::take(&mut self.asking) {
            let mut bytes = [0; MAX_LINE];
            let is_open = match client.0.read(&mut bytes) {
                Ok(0) => false,
                Ok(count) => {
                    line.extend(&bytes[..count]);
                    true
                }
                Err(error) => {
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
                }
            };
            let end = line.iter().position(|byte| *byte == b'\n');
            let problem = if let Some(end) = end.filter(|end| *end < MAX_LINE) {
                match self.understand(client, &line[..end], &requests) {
                    Ok(request) => {
                        requests.push(request);
                        continue;
                    }
                    Err(refused) => refused,
                }
            } else if line.len() >= MAX_LINE {
                (client, format!("a line has at most {} bytes", MAX_LINE - 1))
            } else if !is_open {
                (client, "the line has no end".to_owned())
            } else if deadline <= now {
                (client, format!("nothing was asked within {LONGEST:?}"))
            } else {
                self.asking.push((client, line, deadline));
                continue;
            };
            let (client, problem) = problem;
            self.answer(client, &Done::failed(problem));
        }
        requests
    }

    /// Returns the request of a line, or the reason for which there is none.
    fn understand(
        &mut self,
        client: Client,
        line: &[u8],
        others: &[Request],
    ) -> Result<Request, (Client, String)> {
        let line = String::from_utf8_lossy(line);
        let (word, name) = line.split_once(' ').unwrap_or((&line, ""));
        let handler = (!name.is_empty()).then(|| name.to_owned());
        let request = match (word, name) {
            ("status", "") => return Ok(Request::Status(client)),
            ("reload", "") => Request::Reload(client),
            ("upgrade", "") => Request::Upgrade(client),
            ("stop", "") => Request::Stop(client),
            ("drain", _) => Request::Drain(client, handler),
            ("undo-drain", _) => Request::UndoDrain(client, handler),
            _ => {
                let words = "the words are status, reload, upgrade, stop, drain and undo-drain";
                return Err((client, words.to_owned()));
            }
        };
        // Those of the same round wait soon.
        let same = others.iter().filter(|other| discriminant(*other) == discriminant(&request));
        let waiting = same.count() + self.waiting(&request);
        if waiting < MAX_WAITING {
            return Ok(request);
        }
        Err((
            request.into_client(),
            format!("{MAX_WAITING} clients wait for `{word}` already, which is the most"),
        ))
    }

    /// Returns the number of clients that wait as this one would. If they are too many, those
    /// that have gone are dropped first.
    fn waiting(&mut self, request: &Request) -> usize {
        if let Request::Drain(..) = request {
            if self.draining.len() >= MAX_WAITING {
                self.draining.retain(|(client, _)| !client.has_gone());
            }
            return self.draining.len();
        }
        let clients = match request {
            Request::Upgrade(_) => &mut self.upgrading,
            Request::Stop(_) => &mut self.stopping,
            _ => &mut self.reloading,
        };
        if clients.len() >= MAX_WAITING {
            clients.retain(|client| !client.has_gone());
        }
        clients.len()
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
        for client in std::mem::take(&mut self.upgrading) {
            self.answer(client, &Done::failed(why));
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
                Some(Ok(())) => self.answer(client, &Done { problems: Vec::new() }),
                Some(Err(problem)) => self.answer(client, &Done::failed(problem)),
            }
        }
    }

    /// Answers those that wait for the reload.
    pub fn reloaded(&mut self, problems: &[String]) {
        for client in std::mem::take(&mut self.reloading) {
            self.answer(client, &Done { problems: problems.to_vec() });
        }
    }

    /// Answers those that wait for the end.
    pub fn stopped(&mut self) {
        self.reloaded(&["the server has ended".to_owned()]);
        self.upgrade_failed("the server has ended");
        for (client, _) in std::mem::take(&mut self.draining) {
            self.answer(client, &Done::failed("the server has ended"));
        }
        for client in std::mem::take(&mut self.stopping) {
            self.answer(client, &Done { problems: Vec::new() });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_client_that_asks_too_slowly_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let mut control = Control::bind(&path).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        let now = Instant::now();
        control.accept(now);
        // Its time does not begin anew with each byte.
        for part in ["rel", "oa"] {
            client.write_all(part.as_bytes()).unwrap();
            assert!(control.read(now).is_empty());
        }
        let until = control.next_deadline().unwrap();
        assert_eq!(until, now + LONGEST);
        assert!(control.read(until).is_empty() && control.asking.is_empty());
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "{\"problems\":[\"nothing was asked within 5s\"]}\n");
    }

    #[test]
    fn one_more_client_takes_the_place_of_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let mut control = Control::bind(&path).unwrap();
        let now = Instant::now();
        let clients = (0..=MAX_CLIENTS).map(|_| {
            let client = UnixStream::connect(&path).unwrap();
            control.accept(now);
            client
        });
        let mut clients: Vec<_> = clients.collect();
        assert_eq!(control.asking.len(), MAX_CLIENTS);
        let mut answer = String::new();
        clients[0].read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "{\"problems\":[\"too many clients ask at once\"]}\n");
        clients[1].write_all(b"status\n").unwrap();
        assert!(matches!(control.read(now)[..], [Request::Status(_)]));
    }
}
