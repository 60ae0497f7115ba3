//! Hostile handlers. Each is a row: its name, the code that runs when a client sends `x`, and
//! the failure that the log must then report.

mod canonical_abi;
mod datagrams;
mod engine;
mod flags;
mod handles;
mod loading;
mod logs;
mod loops;
mod memory;
mod modes;
mod network;
mod sendfile;
mod sockets;
mod stack;
mod traps;

use std::io::Write;

use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::Server;

use super::{FIBERS, FIBERS_IN_WORKERS, assert_reported, attack, in_modes, logged};
use crate::client::read_to_end;
use crate::fixture::{FIXTURE, Fixture, Served};

/// Defines a test for each hostile handler. It runs in threads and in fibers.
macro_rules! hostile {
    ($($(#[$note:meta])* $name:ident: $guest:expr;)*) => {$(
        #[test]
        $(#[$note])*
        fn $name() {
            crate::attacks::in_modes(|mode| $guest.run(mode));
        }
    )*};
}
use hostile;

/// The ways of running requests besides threads.
const FORKING: &[&str] = &["--concurrency", "forking"];
const WORKERS: &[&str] = &["--workers", "2"];
const SYNC: &[&str] = &["--concurrency", "sync"];

/// The outcome that a request of a hostile handler must have.
#[derive(Clone, Copy)]
enum End {
    /// The request fails with this reason and blame.
    Fails { reason: &'static str, blame: &'static str },
    /// The client receives this answer.
    Answers(&'static [u8]),
}

/// A hostile handler, and the outcome that its requests must have.
#[derive(Clone, Copy)]
struct Hostile {
    fixture: Fixture<'static>,
    /// The data that the client sends. The first byte is `x`.
    question: &'static [u8],
    options: &'static [&'static str],
    cpu_time: &'static str,
    end: End,
    /// Another text that the report contains.
    saying: &'static str,
    /// The number of clients that send the question at the same time.
    clients: usize,
}

/// Makes a handler that runs `code` in `setup`.
const fn setup(code: &'static str) -> Hostile {
    hostile_fixture(Fixture { setup: code, ..FIXTURE })
}

/// Makes a handler that runs `code` in `handle`.
const fn handle(code: &'static str) -> Hostile {
    hostile_fixture(Fixture { handle: code, ..FIXTURE })
}

/// Makes a handler that runs `code` in `finish`.
const fn finish(code: &'static str) -> Hostile {
    hostile_fixture(Fixture { finish: code, ..FIXTURE })
}

/// Code that receives the data after the first byte. It sets a flag for `cabi_realloc` first
/// (see [`when_asked`]). The data goes to address 1024, unless `cabi_realloc` returns another.
macro_rules! receive {
    () => {
        "(i32.store (i32.const 8) (i32.const 1)) (call $recv (i32.const 64))"
    };
}
use receive;

/// Makes a handler that runs `code` in `cabi_realloc`, which the host calls to pass the data
/// after the first byte.
const fn realloc(code: &'static str) -> Hostile {
    let handle = receive!();
    Hostile { question: b"xyz", ..hostile_fixture(Fixture { handle, realloc: code, ..FIXTURE }) }
}

/// Code of [`realloc`] that runs only for a client that sent `x`.
macro_rules! when_asked {
    ($code:expr) => {
        concat!("(if (i32.load (i32.const 8)) (then ", $code, "))")
    };
}
use when_asked;

const fn hostile_fixture(fixture: Fixture<'static>) -> Hostile {
    Hostile {
        fixture,
        question: b"x",
        options: &[],
        cpu_time: "50ms",
        end: End::Fails { reason: "trap", blame: "guest" },
        saying: "",
        clients: 2,
    }
}

impl Hostile {
    /// Sets the outcome: the request fails for `reason`, and the guest is to blame.
    const fn ends(self, reason: &'static str) -> Self {
        self.ends_for(reason, "guest")
    }

    /// Sets the outcome: the request fails for `reason`, and `blame` is to blame.
    const fn ends_for(self, reason: &'static str, blame: &'static str) -> Self {
        Hostile { end: End::Fails { reason, blame }, ..self }
    }

    /// Sets the outcome: the client receives `answer`.
    const fn answers(self, answer: &'static [u8]) -> Self {
        Hostile { end: End::Answers(answer), ..self }
    }

    /// Sets another text that the report contains.
    const fn saying(self, text: &'static str) -> Self {
        Hostile { saying: text, ..self }
    }

    /// Runs `code` after `handle` has returned.
    const fn post_return(self, code: &'static str) -> Self {
        Hostile { fixture: Fixture { post_return: code, ..self.fixture }, ..self }
    }

    /// Sets the code of `handle`.
    const fn with_handle(self, handle: &'static str) -> Self {
        Hostile { fixture: Fixture { handle, ..self.fixture }, ..self }
    }

    /// Adds functions of the component: their definitions, how the module imports them, and
    /// how the component passes them to the module.
    const fn with_functions(
        self,
        component: &'static str,
        imports: &'static str,
        provides: &'static str,
    ) -> Self {
        Hostile { fixture: Fixture { component, imports, provides, ..self.fixture }, ..self }
    }

    /// Sets the data that the client sends.
    const fn question(self, question: &'static [u8]) -> Self {
        Hostile { question, ..self }
    }

    /// Adds fields to the module.
    const fn fields(self, fields: &'static str) -> Self {
        Hostile { fixture: Fixture { fields, ..self.fixture }, ..self }
    }

    /// Sets more options of `serve`.
    const fn options(self, options: &'static [&'static str]) -> Self {
        Hostile { options, ..self }
    }

    /// Sets the CPU time of a request.
    const fn cpu_time(self, cpu_time: &'static str) -> Self {
        Hostile { cpu_time, ..self }
    }

    /// Sets the number of clients that send the question at the same time.
    const fn clients(self, clients: usize) -> Self {
        Hostile { clients, ..self }
    }

    /// Serves the handler in this mode, and runs its clients beside a bystander.
    fn run(&self, mode: &[&str]) {
        self.run_text(&self.fixture.text(), mode);
    }

    /// As [`run`](Self::run), with another text of the component.
    fn run_text(&self, text: &str, mode: &[&str]) {
        let options = [&["--cpu-time", self.cpu_time], self.options, mode].concat();
        let mut served = Served::start(text, &["tcp://127.0.0.1:0"], &options);
        let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
        attack(&mut served.server, &bystander, |server, _| self.ask(server));
        self.check_count_of_failures(&mut served.server);
    }

    /// Sends the question from all clients at the same time, and checks the outcomes.
    fn ask(&self, server: &mut Server) {
        let clients: Vec<_> = (0..self.clients)
            .map(|_| {
                let mut client = server.connect().unwrap();
                client.write_all(self.question).unwrap();
                client
            })
            .collect();
        for mut client in clients {
            let from = format!("from {}: ", client.local_addr().unwrap());
            match self.end {
                End::Fails { reason, blame } => {
                    let line = logged(server, &from);
                    assert_reported(&line, reason, blame);
                    assert!(line.contains(self.saying), "not `{}`: {line}", self.saying);
                    assert!(line.contains("handler=\"fixture\""), "{line}");
                    read_to_end(&mut client);
                }
                End::Answers(answer) => assert_eq!(read_to_end(&mut client), answer),
            }
        }
    }

    fn check_count_of_failures(&self, server: &mut Server) {
        let failed = server.log().iter().filter(|line| line.contains("Exception occurred"));
        let expected = if matches!(self.end, End::Fails { .. }) { self.clients * 3 } else { 0 };
        assert_eq!(failed.count(), expected, "{:#?}", server.log());
    }
}
