//! A server in threads, in which threads take requests themselves, and its handler.

use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, ThreadId};

use socketserver::{
    Address, Concurrency, Hooks, Request, Server, ServerBuilder, ServerInfo, ShutdownError,
    SystemExit, Threading,
};

use super::{Gate, WAIT, client_with, next, talk, wait_until};

/// The state that the handler and the hooks of a test share.
#[derive(Clone)]
pub struct Shared {
    pub verified_in: Arc<Mutex<Option<ThreadId>>>,
    pub gate: Gate,
    /// Receives an element for each request that is not quick: true if it runs in the thread
    /// that took it.
    pub entered: Sender<bool>,
    /// The server, for requests and hooks that end it.
    pub server: Arc<OnceLock<Arc<Server>>>,
    /// The next thing that a hook does in a leader.
    pub hook: Arc<Mutex<Option<Hook>>>,
    pub results: Sender<Result<(), ShutdownError>>,
    /// The result of a close by a hook.
    pub left: Arc<Mutex<Option<usize>>>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Hook {
    Shutdown,
    Panic,
    PanicInService,
    Close,
}

impl Shared {
    fn is_leader(&self) -> bool {
        *self.verified_in.lock().unwrap() == Some(thread::current().id())
    }
}

impl Hooks for Shared {
    fn verify_request(&self, _request: &Request, _client: &Address) -> bool {
        *self.verified_in.lock().unwrap() = Some(thread::current().id());
        let in_pool = thread::current().name() == Some("request");
        let mut next = self.hook.lock().unwrap();
        let hook = next.take_if(|hook| in_pool && *hook != Hook::PanicInService);
        drop(next);
        match hook {
            None | Some(Hook::PanicInService) => {}
            Some(Hook::Close) => {
                let left = self.server.get().unwrap().server_close_within(WAIT);
                self.left.lock().unwrap().replace(left);
            }
            Some(Hook::Shutdown) => {
                self.results.send(self.server.get().unwrap().shutdown()).unwrap();
            }
            Some(Hook::Panic) => panic!("in verify_request"),
        }
        true
    }

    fn service_actions(&self) {
        let in_pool = thread::current().name() == Some("request");
        let hook =
            self.hook.lock().unwrap().take_if(|hook| in_pool && *hook == Hook::PanicInService);
        assert!(hook.is_none(), "in service_actions");
    }
}

pub struct Test {
    pub shared: Shared,
    pub entered: Receiver<bool>,
    pub results: Receiver<Result<(), ShutdownError>>,
}

/// Returns a server in threads, and what its handler shares with the test. A request is one
/// letter: `q` for a quick one, and others that do the same unless a leader runs them.
pub fn leading() -> (ServerBuilder, Test) {
    let (sender, entered) = mpsc::channel();
    let (results_sender, results) = mpsc::channel();
    let shared = Shared {
        verified_in: Arc::default(),
        gate: Gate::default(),
        entered: sender,
        server: Arc::default(),
        hook: Arc::default(),
        results: results_sender,
        left: Arc::default(),
    };
    let own = shared.clone();
    let handler = move |request: &Request, client: &Address, _: &Arc<ServerInfo>| {
        let answer = |text: &[u8]| match request.data() {
            [] => request.sendall(text),
            _ => request.sendto(text, client).map(|_| ()),
        };
        let order =
            if request.data().is_empty() { request.recv(1)? } else { request.data().to_vec() };
        let leads = own.is_leader();
        if order != b"q" {
            own.entered.send(leads).unwrap();
        }
        if leads {
            match &order[..] {
                b"b" => own.gate.wait(),
                b"w" => drop(request.recv(1)?),
                b"p" => panic!("in a leader"),
                b"e" => return Err(SystemExit(3).into()),
                b"s" => own.results.send(own.server.get().unwrap().shutdown()).unwrap(),
                _ => {}
            }
        }
        answer(if leads { b"leader" } else { b"other" })?;
        Ok::<(), socketserver::HandlerError>(())
    };
    let server = Server::builder(handler)
        .hooks(shared.clone())
        .concurrency(Concurrency::Threading(Threading::new()));
    (server, Test { shared, entered, results })
}

/// Sends quick requests until a leader runs one.
pub fn wait_for_leader(server: &Server) {
    wait_until("a leader runs requests", || talk(server, b"q") == b"leader");
}

/// Returns a client whose request a leader runs.
pub fn in_leader(server: &Server, test: &Test, order: u8) -> TcpStream {
    loop {
        wait_for_leader(server);
        let client = client_with(server, &[order]);
        if next(&test.entered) {
            return client;
        }
    }
}
