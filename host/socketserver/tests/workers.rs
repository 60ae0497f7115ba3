//! `Concurrency::Workers`: several processes that serve the same sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod programs;

use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use common::{Gram, datagram_endpoints, wait_until};
use programs::{
    Client, Program, ask, drive, end_of, has_ended, print_child_error, server, server_program,
    signal, tests, wait_for_end, waiting_clients,
};
use rustix::process::Signal;
use socketserver::{
    Address, Concurrency, HandlerError, Hooks, Reason, Request, Server, ServerBuilder, ServerInfo,
    Workers,
};

fn main() -> ExitCode {
    programs::run(
        &[
            ("server", server_program),
            ("prepared", |arguments| drive(server(arguments).hooks(Prepared { fails: false }))),
            ("leading", |arguments| drive(leading(&arguments[0]))),
            ("dying", |arguments| drive(server(arguments).hooks(Prepared { fails: true }))),
        ],
        tests![
            each_worker_serves_and_has_a_limit_of_its_own,
            workers_serve_every_transport,
            datagrams_are_spread_and_answered_while_the_server_closes,
            a_server_has_at_least_one_worker,
            each_worker_is_prepared_once,
            in_workers_threads_take_requests_themselves,
            a_request_that_fails_ends_no_worker,
            a_killed_worker_costs_only_its_own_requests_and_is_replaced,
            a_worker_that_dies_repeatedly_is_replaced_after_growing_pauses,
            the_loop_can_be_ended_while_no_worker_lives,
            the_loop_does_nothing_while_workers_serve,
            closing_waits_for_the_requests_of_the_workers,
            closing_does_not_wait_for_the_workers_without_block_on_close,
            a_worker_does_not_wait_for_daemon_threads,
            closing_within_a_time_returns_the_number_of_workers_left,
            a_worker_that_is_killed_while_the_server_closes_is_reported,
            after_a_shutdown_clients_wait_for_the_next_run,
            the_next_run_does_not_wait_for_the_workers_of_the_last,
            workers_end_when_their_parent_is_killed,
            handle_request_is_not_for_workers,
            other_children_of_the_process_are_left_alone,
        ],
    )
}

const TCP: &str = "bind=tcp://127.0.0.1:0";

/// Returns a server with two workers that take one request each.
fn two_by_one() -> Program {
    Program::serving(&[TCP, "workers=2", "max_requests=1"])
}

fn each_worker_serves_and_has_a_limit_of_its_own() {
    let mut program = two_by_one();
    let (one, first) = Client::holding(program.endpoint());
    let (other, second) = Client::holding(program.endpoint());
    let mut workers = program.children();
    workers.sort_unstable();
    let mut seen = [first, second];
    seen.sort_unstable();
    assert_eq!(seen[..], workers);

    let mut third = Client::with_order(program.endpoint(), "pid");
    wait_until("the client waits", || waiting_clients(program.endpoint()) == 1);
    assert!(third.has_nothing());
    other.done();
    assert_eq!(third.rest(), format!("{second}\n"));
    one.done();
    program.expect("max_requests", &["served ok", "max_requests 2"]);
    program.expect("close", &["closed"]);
    assert_eq!(program.end(), [""; 0]);
}

fn workers_serve_every_transport() {
    let (directory, endpoints) = datagram_endpoints();
    let path = directory.path().join("stream");
    let mut binds = vec![TCP.to_owned(), format!("bind=unix://{}", path.display())];
    binds.extend(endpoints.iter().map(|endpoint| format!("bind={endpoint}")));
    let mut arguments: Vec<&str> = binds.iter().map(String::as_str).collect();
    arguments.push("workers=3");
    let mut program = Program::serving(&arguments);
    wait_until("there are three", || program.children().len() == 3);
    let workers = program.children();
    for endpoint in program.endpoints() {
        for _ in 0..5 {
            let pid = ask(endpoint, "pid").parse().unwrap();
            assert!(workers.contains(&pid), "{endpoint}");
        }
    }
    program.expect("active", &["served ok", "active 3"]);
    program.expect("close", &["closed"]);
    program.expect("active", &["active 0"]);
    assert_eq!(program.children(), []);
    assert_eq!(program.end(), [""; 0]);
}

fn datagrams_are_spread_and_answered_while_the_server_closes() {
    let (directory, endpoints) = datagram_endpoints();
    let path = directory.path().join("gate");
    let gate = UnixListener::bind(&path).unwrap();
    for endpoint in endpoints {
        let bind = format!("bind={endpoint}");
        let mut program = Program::serving(&[&bind, "workers=2", "max_requests=1"]);
        let held = [(), ()].map(|()| {
            let client = Gram::new(program.endpoint().address()).connected();
            client.send(format!("hold {}", path.display()).as_bytes());
            (gate.accept().unwrap(), client)
        });
        let mut workers = program.children();
        program.tell("close");
        assert_eq!(program.line(), "served ok");
        program.wait_until_blocked();
        let mut seen = held.map(|(gate, client)| {
            assert!(client.has_nothing());
            drop(gate);
            String::from_utf8(client.receive()).unwrap().parse().unwrap()
        });
        assert_eq!(program.line(), "closed");
        workers.sort_unstable();
        seen.sort_unstable();
        assert_eq!(workers, seen, "{endpoint}");
    }
}

fn a_server_has_at_least_one_worker() {
    let program = Program::serving(&[TCP, "workers=0"]);
    let pid = ask(program.endpoint(), "pid").parse().unwrap();
    assert_eq!(program.children(), [pid]);
}

/// Returns a server with workers, which answers whether the thread that took a request runs it.
fn leading(bind: &str) -> ServerBuilder {
    struct Taken(Arc<Mutex<Option<ThreadId>>>);
    impl Hooks for Taken {
        fn verify_request(&self, _request: &Request, _client: &Address) -> bool {
            *self.0.lock().unwrap() = Some(thread::current().id());
            true
        }
    }
    let taken_by = Arc::new(Mutex::new(None));
    let hooks = Taken(Arc::clone(&taken_by));
    let handler = move |request: &Request, _: &Address, _: &Arc<ServerInfo>| {
        let leads = *taken_by.lock().unwrap() == Some(thread::current().id());
        request.sendall(if leads { b"leader\n" } else { b"other\n" })
    };
    Server::builder(handler)
        .bind(bind.parse().unwrap())
        .hooks(hooks)
        .concurrency(Concurrency::Workers(Workers::new(2)))
}

fn in_workers_threads_take_requests_themselves() {
    let mut program = Program::start("leading", &["tcp://127.0.0.1:0"]);
    program.tell("serve");
    wait_until("a leader runs requests", || ask(program.endpoint(), "") == "leader");
    for _ in 0..100 {
        assert!(!ask(program.endpoint(), "").is_empty());
    }
    program.close();
    assert_eq!(program.end(), [""; 0]);
}

/// Hooks that print the processes that were prepared, or fail to prepare them.
struct Prepared {
    fails: bool,
}

impl Hooks for Prepared {
    fn after_fork_in_child(&self, _request: Option<&Request>) -> Result<(), HandlerError> {
        println!("prepared {}", std::process::id());
        if self.fails { Err(HandlerError::new(Reason::NoInstance, "no engine")) } else { Ok(()) }
    }

    fn handle_child_error(&self, client: Option<&Address>, error: &HandlerError) {
        print_child_error(client, error);
    }
}

fn each_worker_is_prepared_once() {
    let mut program = Program::start("prepared", &[TCP, "workers=2"]);
    program.tell("serve");
    let mut prepared = [program.line(), program.line()];
    for _ in 0..5 {
        let pid = ask(program.endpoint(), "pid");
        assert!(prepared.contains(&format!("prepared {pid}")));
    }
    let mut workers = program.children();
    workers.sort_unstable();
    prepared.sort_unstable();
    let mut expected = workers.iter().map(|pid| format!("prepared {pid}")).collect::<Vec<_>>();
    expected.sort_unstable();
    assert_eq!(prepared[..], expected);
    program.close();
    assert_eq!(program.end(), [""; 0]);
}

fn a_request_that_fails_ends_no_worker() {
    let mut program = Program::serving(&[TCP, "workers=1"]);
    let worker = ask(program.endpoint(), "pid");
    for order in ["fail sorry", "panic sorry", "exit 3"] {
        assert_eq!(ask(program.endpoint(), order), "");
        assert_eq!(ask(program.endpoint(), "pid"), worker);
    }
    let lines = [program.line(), program.line()];
    for (line, reason) in lines.iter().zip(["error", "panic"]) {
        assert!(line.starts_with(&format!("error in {worker} for ")), "{line}");
        assert!(line.ends_with(&format!(": guest {reason}: sorry")), "{line}");
    }
    program.close();
    assert_eq!(program.end(), [""; 0], "a system exit is not reported");
}

fn a_killed_worker_costs_only_its_own_requests_and_is_replaced() {
    let mut program = two_by_one();
    let (mut lost, killed) = Client::holding(program.endpoint());
    let (kept, other) = Client::holding(program.endpoint());
    signal(killed, Signal::KILL);
    assert_eq!(lost.rest(), "");
    assert_eq!(
        program.line(),
        format!(
            "child-error for all: host worker: a worker is gone, and is replaced in 100ms: \
             process {killed} was ended by signal 9"
        )
    );
    assert!(kept.has_nothing());
    let (next, new) = Client::holding(program.endpoint());
    assert!(![killed, other, program.pid()].contains(&new));
    assert_eq!(program.children().len(), 2);
    next.done();
    kept.done();
    program.close();
    assert_eq!(program.end(), [""; 0]);
}

fn a_worker_that_dies_repeatedly_is_replaced_after_growing_pauses() {
    let mut program = Program::start("dying", &[TCP, "workers=1"]);
    let begun = Instant::now();
    program.tell("serve");
    let mut paused = Duration::ZERO;
    for pause in [100, 200, 400] {
        let line = program.line();
        let pid = line.strip_prefix("prepared ").expect(&line);
        assert_eq!(program.line(), "child-error for all: host no-instance: no engine");
        assert_eq!(
            program.line(),
            format!(
                "child-error for all: host worker: a worker is gone, and is replaced in {pause}ms: \
                 process {pid} ended early"
            )
        );
        // The next worker does not start before that time.
        assert!(begun.elapsed() >= paused, "{:?}", begun.elapsed());
        paused += Duration::from_millis(pause);
    }
    assert!(program.line().starts_with("prepared "));
    assert!(begun.elapsed() >= paused, "{:?}", begun.elapsed());
}

fn the_loop_can_be_ended_while_no_worker_lives() {
    let mut program = Program::start("dying", &[TCP, "workers=2"]);
    program.tell("serve");
    let gone = "host worker: a worker is gone";
    wait_until("a worker is gone", || program.line().contains(gone));
    program.tell("close");
    wait_until("the loop has ended", || program.line() == "served ok");
    wait_until("the server is closed", || program.line() == "closed");
    assert_eq!(program.children(), []);
    assert_eq!(program.end(), [""; 0]);
}

fn the_loop_does_nothing_while_workers_serve() {
    let program = Program::serving(&[TCP, "workers=2"]);
    assert_eq!(ask(program.endpoint(), "echo x"), "x");
    program.wait_until_blocked();
    let (client, _) = Client::holding(program.endpoint());
    program.wait_until_blocked();
    client.done();
}

fn refuses(program: &Program) -> bool {
    let client = Client::try_connect(program.endpoint());
    client.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn closing_waits_for_the_requests_of_the_workers() {
    let mut program = two_by_one();
    let (client, worker) = Client::holding(program.endpoint());
    program.tell("close");
    assert_eq!(program.line(), "served ok");
    wait_until("no worker listens any more", || refuses(&program));
    wait_until("the other worker has ended", || program.children() == [worker]);
    program.wait_until_blocked();
    assert!(program.is_silent());
    client.done();
    assert_eq!(program.line(), "closed");
    assert!(has_ended(worker));
    program.expect("fileno", &["fileno None"]);
    assert_eq!(program.end(), [""; 0]);
}

fn closing_does_not_wait_for_the_workers_without_block_on_close() {
    let mut program = Program::serving(&[TCP, "workers=1", "block_on_close=false"]);
    let (client, worker) = Client::holding(program.endpoint());
    program.close();
    wait_until("the worker does not listen any more", || refuses(&program));
    program.expect("close_within 3600000", &["left 1"]);
    assert!(client.has_nothing(), "it finishes what it has");
    client.done();
    wait_for_end(worker);
    assert_eq!(program.end(), [""; 0]);
}

fn a_worker_does_not_wait_for_daemon_threads() {
    for each in ["threading", "fibers"] {
        let mut program = Program::serving(&[TCP, "workers=1", "daemon_threads=true", each]);
        let (mut client, worker) = Client::holding(program.endpoint());
        program.close();
        assert_eq!(client.rest(), "", "{each}");
        wait_for_end(worker);
        assert_eq!(program.end(), [""; 0]);
    }
}

fn closing_within_a_time_returns_the_number_of_workers_left() {
    let mut program = two_by_one();
    let (one, _) = Client::holding(program.endpoint());
    let (other, _) = Client::holding(program.endpoint());
    program.expect("close_within 20", &["served ok", "left 2"]);
    one.done();
    wait_until("one has ended", || {
        program.expect("collect", &["collected"]);
        program.children().len() == 1
    });
    program.expect("close_within 20", &["left 1"]);
    other.done();
    program.expect("close_within 3600000", &["left 0"]);
    assert_eq!(program.end(), [""; 0]);
}

fn a_worker_that_is_killed_while_the_server_closes_is_reported() {
    let mut program = Program::serving(&[TCP, "workers=1"]);
    let (mut client, worker) = Client::holding(program.endpoint());
    program.tell("close");
    assert_eq!(program.line(), "served ok");
    program.wait_until_blocked();
    signal(worker, Signal::KILL);
    let line = program.line();
    assert_eq!(
        line,
        format!(
            "child-error for all: host worker: a worker is gone: \
             process {worker} was ended by signal 9"
        )
    );
    assert_eq!(program.line(), "closed");
    assert_eq!(client.rest(), "");
    assert_eq!(program.end(), [""; 0]);
}

fn after_a_shutdown_clients_wait_for_the_next_run() {
    let mut program = Program::serving(&[TCP, "workers=2"]);
    let before = ask(program.endpoint(), "pid");
    program.expect("active", &["served ok", "active 2"]);
    wait_until("the workers have ended", || {
        program.expect("collect", &["collected"]);
        program.children().is_empty()
    });
    let mut between = Client::with_order(program.endpoint(), "pid");
    assert_eq!(waiting_clients(program.endpoint()), 1);
    program.tell("serve");
    let after = between.rest();
    assert!(!after.is_empty() && after.trim_end() != before);
    wait_until("there are two again", || program.children().len() == 2);
    program.close();
    assert_eq!(program.end(), [""; 0]);
}

fn the_next_run_does_not_wait_for_the_workers_of_the_last() {
    let mut program = Program::serving(&[TCP, "workers=1"]);
    let (client, old) = Client::holding(program.endpoint());
    program.tell("serve");
    assert_eq!(program.line(), "served ok");
    let new: i32 = ask(program.endpoint(), "pid").parse().unwrap();
    assert_ne!(new, old);
    client.done();
    wait_until("it has ended and was taken note of", || program.children() == [new]);
    assert_eq!(ask(program.endpoint(), "pid"), new.to_string());
    program.close();
    assert_eq!(program.end(), [""; 0], "that is no early end");
}

fn workers_end_when_their_parent_is_killed() {
    let program = two_by_one();
    let (client, worker) = Client::holding(program.endpoint());
    let workers = program.children();
    program.kill();
    wait_until("no process listens any more", || refuses(&program));
    for other in workers.iter().filter(|other| **other != worker) {
        wait_for_end(*other);
    }
    assert!(client.has_nothing() && !has_ended(worker), "it has a request");
    client.done();
    wait_for_end(worker);
}

fn handle_request_is_not_for_workers() {
    let mut program = Program::start("server", &[TCP, "workers=1"]);
    let client = Client::with_order(program.endpoint(), "echo");
    program.expect("handle_request", &["handled Workers"]);
    assert_eq!(program.children(), []);
    assert!(client.has_nothing());
}

fn other_children_of_the_process_are_left_alone() {
    let mut program = Program::start("server", &[TCP, "workers=1"]);
    program.tell("foreign");
    let foreign: i32 = program.line().strip_prefix("foreign ").unwrap().parse().unwrap();
    let status = end_of(foreign);
    program.tell("serve");
    let worker: i32 = ask(program.endpoint(), "pid").parse().unwrap();
    signal(worker, Signal::KILL);
    assert!(program.line().starts_with("child-error for all: "));
    assert_ne!(ask(program.endpoint(), "pid"), worker.to_string());
    program.close();
    assert_eq!(end_of(foreign), status);
    program.expect("foreign_status", &["foreign_status Ok(Some(72))"]);
}
