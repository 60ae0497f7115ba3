//! What the tests share: servers, clients, and ways to wait for events.
//!
//! Nothing here waits for luck: a test waits until something has happened, and
//! fails if it has not after [`WAIT`].

#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod datagram;
mod door;
mod forged;
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

pub use datagram::*;
pub use door::*;
pub use forged::*;
pub use process::*;

/// The longest that a test waits for anything.
pub const WAIT: Duration = Duration::from_secs(20);

/// A poll interval that never passes during a test.
pub const NEVER: Duration = Duration::from_hours(1);

/// A poll interval for tests that count rounds.
pub const SOON: Duration = Duration::from_millis(1);

/// A server on a free port of 127.0.0.1, to be completed.
pub fn builder(
    handler: impl Fn(&Request) -> io::Result<()> + Send + Sync + 'static,
) -> ServerBuilder {
    Server::builder(move |request: &Request, _: &Address, _: &Arc<ServerInfo>| handler(request))
        .bind(localhost())
}

pub fn localhost() -> Endpoint {
    "tcp://127.0.0.1:0".parse().unwrap()
}

/// Sends back what comes, until the end of the stream.
pub fn echo(request: &Request) -> io::Result<()> {
    loop {
        let data = request.recv(4096)?;
        if data.is_empty() {
            return Ok(());
        }
        request.sendall(&data)?;
    }
}

/// A server whose loop runs in a thread of its own until this is dropped.
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
    /// Waits for the end of the loop, which somebody else brings about.
    pub fn join(mut self) -> Result<(), ServeError> {
        self.thread.take().unwrap().join().unwrap()
    }

    /// Waits until the loop does nothing.
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

/// A client that does not wait for ever.
pub fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let client = TcpStream::connect_timeout(&address, WAIT)?;
    client.set_read_timeout(Some(WAIT))?;
    client.set_write_timeout(Some(WAIT))?;
    Ok(client)
}

pub fn connect(server: &Server) -> TcpStream {
    connect_to(server.server_address().to_socket_addr().unwrap()).unwrap()
}

/// A client that has sent `data`, and may send more.
pub fn client_with(server: &Server, data: &[u8]) -> TcpStream {
    let mut client = connect(server);
    client.write_all(data).unwrap();
    client
}

/// What comes until the end of the stream, which must be a clean one.
pub fn read_all(client: &mut TcpStream) -> Vec<u8> {
    let mut data = Vec::new();
    client.read_to_end(&mut data).unwrap();
    data
}

/// What the server answers to `data` and the end of the stream.
pub fn talk(server: &Server, data: &[u8]) -> Vec<u8> {
    let mut client = client_with(server, data);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    read_all(&mut client)
}

/// Closes a client so that the other end gets a reset.
pub fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

/// A request without a server, and its client.
pub fn pair() -> (Request, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect_to(listener.local_addr().unwrap()).unwrap();
    (Request::new(listener.accept().unwrap().0), client)
}

/// The number of an error of the kernel's.
pub fn errno<T>(result: io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}

/// Handlers wait at it until the test opens it.
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
        assert!(!waited.timed_out(), "nobody opened the gate");
    }
}

pub fn at_most(max_requests: usize) -> Concurrency {
    Concurrency::Threading(Threading { max_requests: Some(max_requests), ..Threading::new() })
}

/// Handlers in threads that tell what they received, wait at a gate, and then
/// answer.
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

/// What the hooks of a server saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Verify(Address),
    Error { client: Address, blame: Blame, reason: &'static str, text: String, thread: ThreadId },
    Timeout,
    Service,
    AcceptError(io::ErrorKind, Option<i32>),
}

/// Hooks that tell the test what they saw, and refuse nothing.
pub struct Recorder(pub Sender<Event>);

pub fn recorder() -> (Recorder, Receiver<Event>) {
    let (sender, receiver) = mpsc::channel();
    (Recorder(sender), receiver)
}

impl Recorder {
    fn tell(&self, event: Event) {
        // The test may have seen enough.
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

/// What `f` returns, which must do so in time.
pub fn in_time<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, result) = mpsc::channel();
    thread::spawn(move || sender.send(f()));
    next(&result)
}

/// The next thing that a channel brings.
pub fn next<T>(events: &Receiver<T>) -> T {
    events.recv_timeout(WAIT).expect("nothing happened")
}

/// The next request that failed: blame, reason and text.
pub fn next_error(events: &Receiver<Event>) -> (Blame, &'static str, String) {
    loop {
        if let Event::Error { blame, reason, text, .. } = next(events) {
            return (blame, reason, text);
        }
    }
}

/// The requests that failed so far.
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

/// Looks again and again until it is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not so after {WAIT:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
