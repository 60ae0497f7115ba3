//! The broker's connections, each with a thread once it is used.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv};

use super::door::{ProcessKind, READY};
use super::message::{Answer, Call, MAX_MESSAGE, from_bytes, to_bytes};
use super::permits::Permits;
use super::session::{Reply, Session};
use super::wire;
use crate::network_grants::NetworkGrants;

/// The stack of a thread, in bytes. The thread makes system calls; lookups have threads of
/// their own.
const STACK: usize = 256 << 10;

/// The numbers in the epoll that are the door and the bell. Connections have the numbers after
/// them.
const DOOR: u64 = 0;
const BELL: u64 = 1;

/// The limits of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerLimits {
    /// The sockets that one request may have open.
    pub sockets: usize,
    /// The attempts to connect of one request.
    pub connects: u32,
    /// The sockets of all requests together.
    pub all_sockets: usize,
    /// The connections that are in use at once.
    pub connections: usize,
    /// The connections of one worker.
    pub connections_of_worker: usize,
}

/// The state that all connections share.
#[derive(Clone)]
struct Shared {
    grants: Arc<NetworkGrants>,
    limits: BrokerLimits,
    connections: Arc<Permits>,
    sockets: Arc<Permits>,
}

/// Opens sockets for the processes that come to `door`, as far as `grants` permit, until every
/// process has closed the other end of the door.
///
/// # Errors
///
/// There is no epoll, or the door is no such socket.
pub fn serve_broker(door: &OwnedFd, grants: NetworkGrants, limits: BrokerLimits) -> io::Result<()> {
    let shared = Shared {
        grants: Arc::new(grants),
        connections: Permits::new(limits.connections),
        sockets: Permits::new(limits.all_sockets),
        limits,
    };
    let (bell, rope) = bell()?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    // Without any events, the epoll reports the end of the door and no process that comes to it.
    epoll::add(&epoll, door, EventData::new_u64(DOOR), EventFlags::empty())?;
    epoll::add(&epoll, &bell, EventData::new_u64(BELL), EventFlags::IN)?;
    wire::send_message(door, READY, &[rope.as_fd()], SendFlags::empty())?;
    drop(rope);
    let mut arrivals = Arrivals { shared, epoll, unused: HashMap::new(), last_key: BELL };
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        match epoll::wait(&arrivals.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            match event.data.u64() {
                DOOR => {}
                BELL => {
                    // The number of times that it rang does not matter.
                    let _ = rustix::io::read(&bell, &mut [0; 4096]);
                }
                key => {
                    arrivals.used(key, event.flags)?;
                    continue;
                }
            }
            if !arrivals.let_in(door)? {
                return Ok(());
            }
        }
    }
}

/// Returns both ends of a new bell: the one that becomes readable, and the one to ring it by.
fn bell() -> io::Result<(OwnedFd, OwnedFd)> {
    let (bell, rope) = io::pipe()?;
    fcntl_setfl(&bell, OFlags::NONBLOCK)?;
    // A process in the jail never waits for the broker here.
    fcntl_setfl(&rope, OFlags::NONBLOCK)?;
    Ok((bell.into(), rope.into()))
}

/// The connections of processes that have come.
struct Arrivals {
    shared: Shared,
    epoll: OwnedFd,
    /// The connections without a call yet: a process that opens no socket costs no thread.
    unused: HashMap<u64, OwnedFd>,
    last_key: u64,
}

impl Arrivals {
    /// Lets in the processes at the door. Returns false at its end.
    fn let_in(&mut self, door: &OwnedFd) -> io::Result<bool> {
        loop {
            match at_door(door)? {
                Arrival::Process(ProcessKind::Worker, connection) => {
                    self.shared.start_worker(connection);
                }
                Arrival::Process(ProcessKind::Request, connection) => self.arrived(connection),
                Arrival::Lost => {}
                Arrival::NothingMore => return Ok(true),
                Arrival::End => return Ok(false),
            }
        }
    }

    fn arrived(&mut self, connection: OwnedFd) {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(&connection, &mut [0; 1], flags) {
            // It ended without a call, as most do.
            Ok((0, _)) => {}
            Ok(_) => self.shared.start(connection),
            Err(_) => {
                self.last_key += 1;
                // If there is no room in the epoll, the process sees the end of its connection.
                let data = EventData::new_u64(self.last_key);
                if epoll::add(&self.epoll, &connection, data, EventFlags::IN).is_ok() {
                    self.unused.insert(self.last_key, connection);
                }
            }
        }
    }

    /// Serves a connection that has its first call, or has ended.
    fn used(&mut self, key: u64, flags: EventFlags) -> io::Result<()> {
        let Some(connection) = self.unused.remove(&key) else { return Ok(()) };
        epoll::delete(&self.epoll, &connection)?;
        // One that ended without a call is closed here.
        if flags.contains(EventFlags::IN) {
            self.shared.start(connection);
        }
        Ok(())
    }
}

/// A message that came to the door.
enum Arrival {
    Process(ProcessKind, OwnedFd),
    /// There was no descriptor for it, or it was no process.
    Lost,
    /// The queue is empty, or there is no memory.
    NothingMore,
    End,
}

fn at_door(door: &OwnedFd) -> io::Result<Arrival> {
    let mut letter = Vec::with_capacity(1);
    let descriptors = match wire::receive_message(door, &mut letter, RecvFlags::DONTWAIT) {
        Ok(descriptors) => descriptors,
        Err(error) => {
            return match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::NOMEM | Errno::NOBUFS) => Ok(Arrival::NothingMore),
                Some(Errno::MFILE | Errno::MSGSIZE) => Ok(Arrival::Lost),
                _ => Err(error),
            };
        }
    };
    let Some(letter) = letter.first() else { return Ok(Arrival::End) };
    let kind = ProcessKind::of_letter(*letter);
    Ok(match (kind, descriptors.into_iter().next()) {
        (Some(kind), Some(connection)) => Arrival::Process(kind, connection),
        _ => Arrival::Lost,
    })
}

impl Shared {
    /// Serves a connection in a thread. Without room for one more, the process at the other end
    /// sees the end of its connection.
    fn start(&self, connection: OwnedFd) {
        let Some(permit) = self.connections.take() else {
            tracing::warn!("the broker has as many connections as it may");
            return;
        };
        let shared = self.clone();
        spawn(move || {
            let _permit = permit;
            shared.serve(&connection);
        });
    }

    fn start_worker(&self, connection: OwnedFd) {
        let shared = self.clone();
        spawn(move || {
            let own = Permits::new(shared.limits.connections_of_worker);
            converse(&connection, |call| match call {
                Call::Connection => shared.new_connection(&own),
                _ => (Answer::Failed(Errno::OPNOTSUPP.raw_os_error()), Vec::new()),
            });
        });
    }

    /// Makes the connection of a request for a worker.
    fn new_connection(&self, own: &Arc<Permits>) -> (Answer, Vec<OwnedFd>) {
        let made = || -> io::Result<OwnedFd> {
            let own = own.take().ok_or(Errno::MFILE)?;
            let all = self.connections.take().ok_or(Errno::NFILE)?;
            let (ours, theirs) = wire::pair()?;
            let shared = self.clone();
            spawn(move || {
                let _permits = (own, all);
                shared.serve(&ours);
            });
            Ok(theirs)
        };
        match made() {
            Ok(theirs) => (Answer::Connection, vec![theirs]),
            Err(error) => (Answer::failed(&error), Vec::new()),
        }
    }

    /// Makes the calls of one request until its connection ends.
    fn serve(&self, connection: &OwnedFd) {
        let BrokerLimits { sockets, connects, .. } = self.limits;
        let (grants, permits) = (Arc::clone(&self.grants), Arc::clone(&self.sockets));
        let mut session = Session::new(grants, sockets, connects, permits);
        converse(connection, |call| {
            let Reply { answer, sockets } = session.answer(call, connection.as_fd());
            let copies = sockets.into_iter().filter_map(|id| session.descriptor(id));
            let copies: io::Result<Vec<_>> = copies.map(|one| one.try_clone_to_owned()).collect();
            match copies {
                Ok(copies) => (answer, copies),
                Err(error) => (Answer::failed(&error), Vec::new()),
            }
        });
    }
}

fn spawn(serve: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name("connection".to_owned()).stack_size(STACK);
    if let Err(error) = thread.spawn(serve) {
        tracing::error!("the broker cannot start a thread: {error}");
    }
}

/// Answers the calls on a connection until it ends. Waits for nothing but the process at its
/// other end.
fn converse(connection: &OwnedFd, mut answer: impl FnMut(Call<'_>) -> (Answer, Vec<OwnedFd>)) {
    let mut message = Vec::new();
    loop {
        message.clear();
        message.reserve(MAX_MESSAGE);
        // Descriptors that are passed here are closed.
        match wire::receive_message(connection, &mut message, RecvFlags::empty()) {
            Ok(_) if !message.is_empty() => {}
            Ok(_) | Err(_) => return,
        }
        let Ok(call) = from_bytes(&message) else { return };
        let (answer, sockets) = answer(call);
        let Ok(bytes) = to_bytes(&answer) else { return };
        let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        if wire::send_message(connection, &bytes, &sockets, SendFlags::empty()).is_err() {
            return;
        }
    }
}
