//! Servers, clients, and functions that wait for events.
//!
//! A test waits for an event, and fails if it has not happened after [`WAIT`].

#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access_control;
mod asynchronous;
mod datagram;
pub mod echo_server;
mod forged;
mod leading;
mod process;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::SockRef;
use socketserver::{
    Address, Blame, Concurrency, Endpoint, HandlerError, Hooks, Request, ServeError, Server,
    ServerBuilder, ServerInfo, Threading,
};

pub use access_control::*;
pub use asynchronous::*;
pub use datagram::*;
pub use forged::*;
pub use leading::*;
pub use process::*;

/// The longest wait of a test.
pub const WAIT: Duration = Duration::from_secs(20);

/// A poll interval that never passes during a test.
pub const NEVER: Duration = Duration::from_hours(1);

/// A poll interval for tests that count rounds.
pub const SOON: Duration = Duration::from_millis(1);

/// Returns the builder of a server on a free port of 127.0.0.1.
pub fn builder(
    handler: impl Fn(&Request) -> io::Result<()> + Send + Sync + 'static,
) -> ServerBuilder {
    Server::builder(move |request: &Request, _: &Address, _: &Arc<ServerInfo>| handler(request))
        .bind(localhost())
}

pub fn localhost() -> Endpoint {
    "tcp://127.0.0.1:0".parse().unwrap()
}

/// Sends all data back, until the end of the stream.
pub fn echo(request: &Request) -> io::Result<()> {
    loop {
        let data = request.recv(4096)?;
        if data.is_empty() {
            return Ok(());
        }
        request.sendall(&data)?;
    }
}

/// A server whose loop runs in its own thread until this is dropped.
pub struct Running {
    server: Arc<Server>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
    number: i32,
}

pub fn serve(server: impl Into<Arc<Server>>, poll_interval: Duration) -> Running {
    let server = server.into();
    let (sender, number) = mpsc::channel();
    let thread = thread::spawn({
        let server = Arc::clone(&server);
        move || {
            sender.send(thread_number()).unwrap();
            server.serve_forever(poll_interval)
        }
    });
    Running { server, thread: Some(thread), number: next(&number) }
}

impl Running {
    /// Waits for the end of the loop, which the test causes.
    pub fn join(mut self) -> Result<(), ServeError> {
        self.thread.take().unwrap().join().unwrap()
    }

    /// Waits until the loop waits for events.
    pub fn wait_until_idle(&self) {
        wait_until_blocked(self.number);
    }

    pub fn shared(&self) -> Arc<Server> {
        Arc::clone(&self.server)
    }
}

impl Deref for Running {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.server.shutdown_handle().request_shutdown();
            let _ = thread.join();
        }
    }
}

/// Returns a connected client whose calls have a timeout.
pub fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let client = TcpStream::connect_timeout(&address, WAIT)?;
    client.set_read_timeout(Some(WAIT))?;
    client.set_write_timeout(Some(WAIT))?;
    Ok(client)
}

pub fn connect(server: &Server) -> TcpStream {
    connect_to(server.server_address().to_socket_addr().unwrap()).unwrap()
}

/// Returns a client that has sent `data`, and may send more.
pub fn client_with(server: &Server, data: &[u8]) -> TcpStream {
    let mut client = connect(server);
    client.write_all(data).unwrap();
    client
}

/// Reads until the end of the stream, which must not be a reset.
pub fn read_all(client: &mut TcpStream) -> Vec<u8> {
    let mut data = Vec::new();
    client.read_to_end(&mut data).unwrap();
    data
}

/// Sends `data` and the end of the stream, and returns the answer.
pub fn talk(server: &Server, data: &[u8]) -> Vec<u8> {
    let mut client = client_with(server, data);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    read_all(&mut client)
}

/// Closes a client with a reset.
pub fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

/// Returns a request without a server, and its client.
pub fn pair() -> (Request, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect_to(listener.local_addr().unwrap()).unwrap();
    (Request::new(listener.accept().unwrap().0), client)
}

/// Returns the errno of an error.
pub fn errno<T>(result: io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}

/// A gate at which handlers wait until the test opens it.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub fn wait(&self) {
        let closed = self.0.0.lock().unwrap();
        let (_open, waited) = self.0.1.wait_timeout_while(closed, WAIT, |open| !*open).unwrap();
        assert!(!waited.timed_out(), "the test did not open the gate");
    }
}

pub fn at_most(max_requests: usize) -> Concurrency {
    Concurrency::Threading(Threading { max_requests: Some(max_requests), ..Threading::new() })
}

/// Handlers in threads that pass their data to the test, wait at a gate, and then answer.
pub fn gated() -> (ServerBuilder, Gate, Receiver<Vec<u8>>) {
    let gate = Gate::default();
    let (sender, entered) = mpsc::channel();
    let server = builder({
        let gate = gate.clone();
        move |request| {
            sender.send(request.recv(10)?).unwrap();
            gate.wait();
            request.sendall(b"done")
        }
    });
    (server.concurrency(Concurrency::Threading(Threading::new())), gate, entered)
}

/// An event that the hooks of a server have seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Verify(Address),
    Error { client: Address, blame: Blame, reason: &'static str, text: String, thread: ThreadId },
    Timeout,
    Service,
    AcceptError(io::ErrorKind, Option<i32>),
}

/// Hooks that pass events to the test, and refuse no client.
pub struct Recorder(pub Sender<Event>);

pub fn recorder() -> (Recorder, Receiver<Event>) {
    let (sender, receiver) = mpsc::channel();
    (Recorder(sender), receiver)
}

impl Recorder {
    fn tell(&self, event: Event) {
        // The test may have ended.
        let _ = self.0.send(event);
    }
}

impl Hooks for Recorder {
    fn verify_request(&self, _request: &Request, client_address: &Address) -> bool {
        self.tell(Event::Verify(client_address.clone()));
        true
    }

    fn handle_error(&self, _request: &Request, client_address: &Address, error: &HandlerError) {
        self.tell(Event::Error {
            client: client_address.clone(),
            blame: error.blame(),
            reason: error.reason().as_str(),
            text: error.to_string(),
            thread: thread::current().id(),
        });
    }

    fn handle_timeout(&self) {
        self.tell(Event::Timeout);
    }

    fn service_actions(&self) {
        self.tell(Event::Service);
    }

    fn handle_accept_error(&self, _endpoint: &Endpoint, error: &io::Error) {
        self.tell(Event::AcceptError(error.kind(), error.raw_os_error()));
    }
}

/// Runs `f`, which must return in time, and returns its result.
pub fn in_time<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, result) = mpsc::channel();
    thread::spawn(move || sender.send(f()));
    next(&result)
}

/// Returns the next value of a channel.
pub fn next<T>(events: &Receiver<T>) -> T {
    events.recv_timeout(WAIT).expect("nothing happened")
}

/// Returns the blame, the reason and the text of the next request that failed.
pub fn next_error(events: &Receiver<Event>) -> (Blame, &'static str, String) {
    loop {
        if let Event::Error { blame, reason, text, .. } = next(events) {
            return (blame, reason, text);
        }
    }
}

/// Returns the requests that have failed so far.
pub fn errors(events: &Receiver<Event>) -> Vec<Event> {
    events.try_iter().filter(|event| matches!(event, Event::Error { .. })).collect()
}

/// Waits for `count` more rounds of the loop.
pub fn rounds(events: &Receiver<Event>, count: usize) {
    while events.try_recv().is_ok() {}
    let mut seen = 0;
    while seen < count {
        seen += usize::from(next(events) == Event::Service);
    }
}

/// Waits until the condition holds.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not so after {WAIT:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
