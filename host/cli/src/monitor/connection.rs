//! One connection of the monitor: its request, its answer, and its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use super::Kind;
use super::host::Named;
use super::view::Source;
use super::{agent, http};

/// The time that a client has for all.
const LONGEST: Duration = Duration::from_secs(10);

/// The time after the answer that a client has to read it.
const LONGEST_END: Duration = Duration::from_secs(2);

/// The longest request, in bytes.
const MAX_REQUEST: usize = 8 << 10;

/// A connection.
pub struct Connection {
    stream: OwnedFd,
    kind: Kind,
    named: Named,
    request: Vec<u8>,
    state: State,
    deadline: Instant,
}

/// The answer to what a client has sent so far.
pub enum Answer {
    /// There is none before the client has sent more.
    More,
    /// This.
    Is(Vec<u8>),
}

enum State {
    Reads,
    /// It writes the answer, from this byte on.
    Writes(Vec<u8>, usize),
    /// The answer was written. What the client sends is dropped, so that the end of the
    /// connection is no reset.
    Ends,
    Ended,
}

impl Connection {
    /// Returns a connection that does not wait.
    pub fn new(stream: OwnedFd, kind: Kind) -> Self {
        let deadline = Instant::now() + kind.longest().min(LONGEST);
        let named = Named::rule(&stream);
        Connection { stream, kind, named, request: Vec::new(), state: State::Reads, deadline }
    }

    /// Returns the descriptor, and the events that the connection waits for.
    pub fn waits_for(&self) -> (BorrowedFd<'_>, PollFlags) {
        let events = match self.state {
            State::Writes(..) => PollFlags::OUT,
            _ => PollFlags::IN,
        };
        (self.stream.as_fd(), events)
    }

    /// Returns the time at which the connection goes on, whatever the client does.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns true if the connection is over.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Does what can be done without waiting.
    pub fn go_on(&mut self, source: &dyn Source, now: Instant) {
        if now >= self.deadline {
            self.state = match (&self.state, self.kind) {
                (State::Reads, Kind::Agent) => State::Writes(agent::answer(None, source), 0),
                _ => State::Ended,
            };
            self.deadline = now + LONGEST_END;
        }
        if matches!(self.state, State::Reads) {
            self.read(source);
        }
        self.write();
        if matches!(self.state, State::Ends) {
            self.drop_input();
        }
    }

    fn read(&mut self, source: &dyn Source) {
        let mut answer = self.kind.answer(&self.request, self.named, source);
        while matches!(answer, Answer::More) {
            let mut bytes = [0; 1 << 10];
            match recv(&self.stream, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return self.state = State::Ended,
                Ok((_, count)) => self.request.extend_from_slice(&bytes[..count.min(bytes.len())]),
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => return self.state = State::Ended,
            }
            answer = self.kind.answer(&self.request, self.named, source);
            if matches!(answer, Answer::More) && self.request.len() >= MAX_REQUEST {
                answer = Answer::Is(self.kind.too_long());
            }
        }
        if let Answer::Is(answer) = answer {
            self.state = State::Writes(answer, 0);
        }
    }

    fn write(&mut self) {
        let State::Writes(answer, from) = &mut self.state else { return };
        while *from < answer.len() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(&self.stream, &answer[*from..], flags) {
                Ok(count) => *from += count,
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => return self.state = State::Ended,
            }
        }
        // The client may have gone.
        let _ = shutdown(&self.stream, Shutdown::Write);
        self.state = State::Ends;
        self.deadline = self.deadline.min(Instant::now() + LONGEST_END);
    }

    fn drop_input(&mut self) {
        let mut bytes = [0; 4 << 10];
        match recv(&self.stream, &mut bytes, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) | Ok((_, 1..)) => {}
            Ok(_) | Err(_) => self.state = State::Ended,
        }
    }
}

impl Kind {
    /// Returns the time that a client has to ask.
    fn longest(self) -> Duration {
        match self {
            Kind::Http => LONGEST,
            Kind::Agent => agent::LONGEST,
        }
    }

    fn answer(self, request: &[u8], named: Named, source: &dyn Source) -> Answer {
        match self {
            Kind::Http => http::answer(request, named, source),
            Kind::Agent => agent::answer_to(request, source),
        }
    }

    fn too_long(self) -> Vec<u8> {
        match self {
            Kind::Http => http::too_long(),
            Kind::Agent => Vec::new(),
        }
    }
}
