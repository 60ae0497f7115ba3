//! Hostile handlers. Each is a row: its name, what it does when a client sends
//! `x`, and what the log must then say.

mod canonical_abi;
mod datagrams;
mod engine;
mod handles;
mod loading;
mod logs;
mod loops;
mod memory;
mod modes;
mod sockets;
mod stack;
mod traps;

use std::io::Write;

use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::Server;

use super::{assert_reported, attack, logged};
use crate::client::read_to_end;
use crate::fixture::{FIXTURE, Fixture, Served};

/// Makes a test of each hostile handler.
macro_rules! hostile {
    ($($(#[$note:meta])* $name:ident: $guest:expr;)*) => {$(
        #[test]
        $(#[$note])*
        fn $name() {
            $guest.run(&[]);
        }
    )*};
}
use hostile;

/// How requests are run, besides each in a thread.
const FORKING: &[&str] = &["--concurrency", "forking"];
const WORKERS: &[&str] = &["--workers", "2"];
const SYNC: &[&str] = &["--concurrency", "sync"];

/// What a hostile handler must come to.
#[derive(Clone, Copy)]
enum End {
    /// The request fails, for this reason, by this fault.
    Fails { reason: &'static str, blame: &'static str },
    /// It does no harm, and its client is answered.
    Answers(&'static [u8]),
}

/// A hostile handler, and what must become of it.
#[derive(Clone, Copy)]
struct Hostile {
    fixture: Fixture<'static>,
    /// What its client sends; the first byte is `x`.
    question: &'static [u8],
    options: &'static [&'static str],
    cpu_time: &'static str,
    end: End,
    /// What the report says besides.
    saying: &'static str,
    /// How many clients ask for it at the same time.
    clients: usize,
}

/// A handler that does this in `setup`.
const fn setup(code: &'static str) -> Hostile {
    made(Fixture { setup: code, ..FIXTURE })
}

/// A handler that does this in `handle`.
const fn handle(code: &'static str) -> Hostile {
    made(Fixture { handle: code, ..FIXTURE })
}

/// A handler that does this in `finish`.
const fn finish(code: &'static str) -> Hostile {
    made(Fixture { finish: code, ..FIXTURE })
}

/// Receives what the client sent after its first byte, with a `cabi_realloc` that
/// knows it: to 1024, unless that says otherwise.
macro_rules! receive {
    () => {
        "(i32.store (i32.const 8) (i32.const 1)) (call $recv (i32.const 64))"
    };
}
use receive;

/// A handler that does this in `cabi_realloc`, when the host brings what the
/// client sent after its first byte.
const fn realloc(code: &'static str) -> Hostile {
    let handle = receive!();
    Hostile { question: b"xyz", ..made(Fixture { handle, realloc: code, ..FIXTURE }) }
}

/// Makes the code of [`realloc`] run for the client that asks for it only.
macro_rules! when_asked {
    ($code:expr) => {
        concat!("(if (i32.load (i32.const 8)) (then ", $code, "))")
    };
}
use when_asked;

const fn made(fixture: Fixture<'static>) -> Hostile {
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
    /// It ends for this reason, by its own fault.
    const fn ends(self, reason: &'static str) -> Self {
        self.ends_for(reason, "guest")
    }

    /// It ends for this reason, by that fault.
    const fn ends_for(self, reason: &'static str, blame: &'static str) -> Self {
        Hostile { end: End::Fails { reason, blame }, ..self }
    }

    /// It does no harm: its client is answered this.
    const fn answers(self, answer: &'static [u8]) -> Self {
        Hostile { end: End::Answers(answer), ..self }
    }

    /// The report says this besides.
    const fn saying(self, text: &'static str) -> Self {
        Hostile { saying: text, ..self }
    }

    /// A handler that does this in addition, after `handle` has returned.
    const fn post_return(self, code: &'static str) -> Self {
        Hostile { fixture: Fixture { post_return: code, ..self.fixture }, ..self }
    }

    /// With this `handle` in the place of what it has.
    const fn and_then(self, handle: &'static str) -> Self {
        Hostile { fixture: Fixture { handle, ..self.fixture }, ..self }
    }

    /// With functions of its component: what they are, how its module imports
    /// them, and their names.
    const fn with(
        self,
        component: &'static str,
        imports: &'static str,
        provides: &'static str,
    ) -> Self {
        Hostile { fixture: Fixture { component, imports, provides, ..self.fixture }, ..self }
    }

    /// Its client sends this.
    const fn asked(self, question: &'static [u8]) -> Self {
        Hostile { question, ..self }
    }

    /// With these fields in its module.
    const fn fields(self, fields: &'static str) -> Self {
        Hostile { fixture: Fixture { fields, ..self.fixture }, ..self }
    }

    /// Served with these options.
    const fn options(self, options: &'static [&'static str]) -> Self {
        Hostile { options, ..self }
    }

    /// With that much CPU time for each request.
    const fn cpu_time(self, cpu_time: &'static str) -> Self {
        Hostile { cpu_time, ..self }
    }

    /// With that many clients that ask for it at the same time.
    const fn clients(self, clients: usize) -> Self {
        Hostile { clients, ..self }
    }

    /// Serves it, run in this way, and lets clients ask for it beside a bystander.
    fn run(&self, mode: &[&str]) {
        self.run_text(&self.fixture.text(), mode);
    }

    /// The same, with a handler that was changed further.
    fn run_text(&self, text: &str, mode: &[&str]) {
        let options = [&["--cpu-time", self.cpu_time], self.options, mode].concat();
        let mut served = Served::start(text, &["tcp://127.0.0.1:0"], &options);
        let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
        attack(&mut served.server, &bystander, |server, _| self.ask(server));
        self.ended_well(&mut served.server);
    }

    /// Lets some clients ask for it at the same time, and sees what becomes of it.
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

    fn ended_well(&self, server: &mut Server) {
        let failed = server.log().iter().filter(|line| line.contains("Exception occurred"));
        let expected = if matches!(self.end, End::Fails { .. }) { self.clients * 3 } else { 0 };
        assert_eq!(failed.count(), expected, "{:#?}", server.log());
    }
}
