//! The broker's connections, each with a thread once it is used.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::door::{ProcessKind, READY};
use super::message::{Answer, Call, MAX_MESSAGE, from_bytes, to_bytes};
use super::permits::Permits;
use super::session::{Reply, Session};
use super::wire;
use crate::network_grants::NetworkGrants;

/// The stack of a thread, in bytes. The thread makes system calls; lookups have threads of
/// their own.
const STACK: usize = 256 << 10;

/// The number in the epoll that is the door. Connections have the numbers after it.
const DOOR: u64 = 0;

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
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, door, EventData::new_u64(DOOR), EventFlags::IN)?;
    wire::send_call(door, READY)?;
    // A request that opens no socket costs no thread.
    let mut unused: HashMap<u64, OwnedFd> = HashMap::new();
    let mut last_key = DOOR;
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let (key, flags) = (event.data.u64(), event.flags);
            if key != DOOR {
                let Some(connection) = unused.remove(&key) else { continue };
                epoll::delete(&epoll, &connection)?;
                // One that ended without a call is closed here.
                if flags.contains(EventFlags::IN) {
                    shared.start(connection);
                }
                continue;
            }
            let (kind, connection) = match at_door(door)? {
                Arrival::Process(kind, connection) => (kind, connection),
                Arrival::Nothing => continue,
                Arrival::End => return Ok(()),
            };
            if kind == ProcessKind::Worker {
                shared.start_worker(connection);
                continue;
            }
            last_key += 1;
            // If there is no room in the epoll, the process sees the end of its connection.
            let data = EventData::new_u64(last_key);
            if epoll::add(&epoll, &connection, data, EventFlags::IN).is_ok() {
                unused.insert(last_key, connection);
            }
        }
    }
}

/// A message that came to the door.
enum Arrival {
    Process(ProcessKind, OwnedFd),
    /// There was no descriptor for it, or no memory.
    Nothing,
    End,
}

fn at_door(door: &OwnedFd) -> io::Result<Arrival> {
    let mut letter = Vec::with_capacity(1);
    let descriptors = match wire::receive_message(door, &mut letter, RecvFlags::DONTWAIT) {
        Ok(descriptors) => descriptors,
        Err(error) => {
            return match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::MFILE | Errno::MSGSIZE | Errno::NOMEM) => {
                    Ok(Arrival::Nothing)
                }
                _ => Err(error),
            };
        }
    };
    let Some(letter) = letter.first() else { return Ok(Arrival::End) };
    let kind = ProcessKind::of_letter(*letter);
    Ok(match (kind, descriptors.into_iter().next()) {
        (Some(kind), Some(connection)) => Arrival::Process(kind, connection),
        _ => Arrival::Nothing,
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
