//! `Concurrency::Forking`: a child for each request, the number of children, and their
//! reaping.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod programs;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;

use common::{Gram, datagram_endpoints, unique_name, wait_until};
use programs::{
    Client, Program, ask, end_of, has_ended, server_program, sockets, tests, waiting_clients,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use socketserver::{
    Address, Concurrency, Forking, HandlerError, Hooks, Request, Server, Shared, SocketType,
};

fn main() -> ExitCode {
    programs::run(
        &[
            ("server", server_program),
            ("droppable", droppable_program),
            ("counting", counting_program),
        ],
        tests![
            b48_the_parent_does_not_see_what_a_child_changes,
            b48_a_connection_belongs_to_its_child_until_the_child_is_done,
            b48_a_child_holds_no_listening_socket,
            b49_a_child_ends_without_dropping_anything,
            b50_at_most_max_children_clients_are_accepted,
            b50_a_shutdown_ends_a_loop_that_waits_for_a_permit,
            b51_handle_request_obeys_the_limit_and_reaps_children,
            b51_handle_request_may_time_out_while_it_waits_for_a_permit,
            b51_collect_children_reaps_children,
            b51_the_timeout_is_that_of_cpython_unless_it_is_set,
            b52_closing_waits_for_the_children,
            b52_closing_reaps_children_even_if_it_does_not_wait,
            b52_closing_within_a_time_returns_the_number_of_children_left,
            b53_a_server_forks_for_every_transport,
            the_loop_reaps_children_by_itself,
            other_children_of_the_process_are_left_alone,
            b64_a_datagram_is_answered_by_a_child_while_others_are_taken,
            five_hundred_requests_leave_nothing_behind,
            the_parent_sees_the_shared_counters_of_its_children,
        ],
    )
}

const TCP: &str = "bind=tcp://127.0.0.1:0";

fn b48_the_parent_does_not_see_what_a_child_changes() {
    let program = Program::serving(&[TCP]);
    for _ in 0..3 {
        assert_eq!(ask(program.endpoint(), "count"), "1");
        assert_ne!(ask(program.endpoint(), "pid"), program.pid().to_string());
    }
}

fn b48_a_connection_belongs_to_its_child_until_the_child_is_done() {
    let program = Program::serving(&[TCP]);
    let (client, child) = Client::holding(program.endpoint());
    assert_eq!(program.children(), [child]);
    let sockets_of = |pid: i32| sockets(&pid.to_string()).len();
    wait_until("the parent has closed its copy", || sockets_of(program.pid()) == 1);
    assert_eq!(sockets_of(child), 1);
    assert!(client.has_nothing(), "that is not the end of the connection");
    client.done();
}

fn b48_a_child_holds_no_listening_socket() {
    let name = unique_name();
    let stream = format!("bind=unix://@{name}");
    let datagram = format!("bind=unixgram://@{name}");
    let program = Program::serving(&[TCP, &stream, "bind=udp://127.0.0.1:0", &datagram]);
    let listening = sockets(&program.pid().to_string());
    assert_eq!(listening.len(), 4);
    for endpoint in program.endpoints() {
        let held = ask(endpoint, "sockets");
        let held: Vec<&str> = held.split(' ').collect();
        assert_eq!(held.len(), 1, "{endpoint}");
        // The reply to a datagram leaves from the server's own socket.
        let is_datagram = endpoint.socket_type() == SocketType::Dgram;
        assert_eq!(listening.iter().any(|socket| socket == held[0]), is_datagram, "{endpoint}");
    }
}

/// A value that prints the process that drops it.
struct Droppable;

impl Drop for Droppable {
    fn drop(&mut self) {
        println!("dropped in {}", std::process::id());
    }
}

fn droppable_program(_: &[String]) {
    let droppable = Droppable;
    let handler = move |request: &Request, _: &Address, _: &_| {
        let _held = &droppable;
        request.sendall(if request.is_last_of_process() { b"last" } else { b"more" })
    };
    let forking = Concurrency::Forking(Forking::new());
    let server = Server::builder(handler).bind(common::localhost()).concurrency(forking);
    programs::drive(server);
}

fn b49_a_child_ends_without_dropping_anything() {
    let mut program = Program::start("droppable", &[]);
    program.tell("serve");
    for _ in 0..3 {
        assert_eq!(Client::connect(program.endpoint()).rest(), "last");
    }
    program.close();
    let dropped = format!("dropped in {}", program.pid());
    assert_eq!(program.end(), [dropped]);
}

fn b50_at_most_max_children_clients_are_accepted() {
    assert_eq!(Forking::new().max_children, 40);
    let mut program = Program::serving(&[TCP]);
    let mut clients: Vec<Client> = (0..40).map(|_| Client::holding(program.endpoint()).0).collect();
    let mut last = Client::with_order(program.endpoint(), "echo at last");
    wait_until("the client waits", || waiting_clients(program.endpoint()) == 1);
    program.wait_until_blocked();
    assert_eq!(waiting_clients(program.endpoint()), 1);
    assert_eq!(program.children().len(), 40);
    clients.pop().unwrap().done();
    assert_eq!(last.rest(), "at last\n");
    clients.into_iter().for_each(Client::done);
    program.expect("max_requests", &["served ok", "max_requests 40"]);
}

/// CPython hangs in `waitpid`.
fn b50_a_shutdown_ends_a_loop_that_waits_for_a_permit() {
    let mut program = Program::serving(&[TCP, "max_children=1"]);
    let (client, _) = Client::holding(program.endpoint());
    let waiting = Client::with_order(program.endpoint(), "echo");
    wait_until("the client waits", || waiting_clients(program.endpoint()) == 1);
    program.expect("active", &["served ok", "active 1"]);
    assert!(waiting.has_nothing());
    client.done();
}

/// CPython does neither.
fn b51_handle_request_obeys_the_limit_and_reaps_children() {
    let mut program = Program::start("server", &[TCP, "max_children=1"]);
    let (client, child) = {
        program.tell("handle_request");
        let holding = Client::holding(program.endpoint());
        assert_eq!(program.line(), "handled ok");
        holding
    };
    program.tell("handle_request");
    let mut next = Client::with_order(program.endpoint(), "echo next");
    wait_until("the client waits", || waiting_clients(program.endpoint()) == 1);
    program.wait_until_blocked();
    assert!(program.is_silent() && waiting_clients(program.endpoint()) == 1);
    client.done();
    assert_eq!(program.line(), "handled ok");
    assert_eq!(next.rest(), "next\n");
    assert!(!program.children().contains(&child), "it was taken note of");
}

fn b51_handle_request_may_time_out_while_it_waits_for_a_permit() {
    let mut program = Program::start("server", &[TCP, "max_children=1", "timeout=30"]);
    program.expect("handle_request", &["timeout", "handled ok"]);
    let waiting = Client::with_order(program.endpoint(), "hold");
    program.expect("handle_request", &["handled ok"]);
    let next = Client::with_order(program.endpoint(), "echo next");
    program.expect("handle_request", &["timeout", "handled ok"]);
    assert!(next.has_nothing());
    drop(waiting);
}

fn b51_collect_children_reaps_children() {
    let mut program = Program::start("server", &[TCP]);
    for _ in 0..3 {
        program.tell("handle_request");
        assert_eq!(ask(program.endpoint(), "echo"), "");
        assert_eq!(program.line(), "handled ok");
        program.children().into_iter().for_each(|child| assert_eq!(end_of(child), 0));
        // The next request reaps the last child.
        program.expect("active", &["active 1"]);
    }
    assert_eq!(program.children().len(), 1);
    program.expect("collect", &["collected"]);
    program.expect("active", &["active 0"]);
    assert_eq!(program.children(), []);
}

fn b51_the_timeout_is_that_of_cpython_unless_it_is_set() {
    for (timeout, expected) in [(None, "Some(300s)"), (Some("timeout=7000"), "Some(7s)")] {
        let arguments: Vec<&str> = [TCP].into_iter().chain(timeout).collect();
        let program = Program::serving(&arguments);
        assert_eq!(ask(program.endpoint(), "timeout"), expected);
    }
}

fn b52_closing_waits_for_the_children() {
    let mut program = Program::serving(&[TCP]);
    let (client, child) = Client::holding(program.endpoint());
    program.tell("close");
    assert_eq!(program.line(), "served ok");
    program.wait_until_blocked();
    assert!(program.is_silent());
    let refused = Client::try_connect(program.endpoint()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    client.done();
    assert_eq!(program.line(), "closed");
    assert!(has_ended(child));
    assert_eq!(program.children(), []);
    program.expect("fileno", &["fileno None"]);
    assert_eq!(program.end(), [""; 0]);
}

fn b52_closing_reaps_children_even_if_it_does_not_wait() {
    let mut program = Program::start("server", &[TCP, "block_on_close=false"]);
    program.tell("handle_request");
    let (client, child) = Client::holding(program.endpoint());
    assert_eq!(program.line(), "handled ok");
    program.tell("handle_request");
    assert_eq!(ask(program.endpoint(), "echo"), "");
    assert_eq!(program.line(), "handled ok");
    let ended = program.children().into_iter().find(|other| *other != child).unwrap();
    assert_eq!(end_of(ended), 0);
    program.expect("close", &["closed"]);
    assert_eq!(program.children(), [child]);
    program.expect("close_within 3600000", &["left 1"]);
    assert!(client.has_nothing());
    client.done();
}

fn b52_closing_within_a_time_returns_the_number_of_children_left() {
    let mut program = Program::serving(&[TCP]);
    let (one, _) = Client::holding(program.endpoint());
    let (other, _) = Client::holding(program.endpoint());
    program.expect("close_within 20", &["served ok", "left 2"]);
    one.done();
    program.tell("close_within 3600000");
    program.wait_until_blocked();
    assert!(program.is_silent());
    other.done();
    assert_eq!(program.line(), "left 0");
    assert_eq!(program.children(), []);
}

fn b53_a_server_forks_for_every_transport() {
    let (directory, _) = datagram_endpoints();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let binds = [
        TCP.to_owned(),
        "bind=tcp://[::1]:0".to_owned(),
        "bind=udp://127.0.0.1:0".to_owned(),
        "bind=udp://[::1]:0".to_owned(),
        format!("bind=unix://{}", path("stream")),
        format!("bind=unixgram://{}", path("datagram")),
        format!("bind=unix://@{}", unique_name()),
        format!("bind=unixgram://@{}", unique_name()),
    ];
    let mut program = Program::serving(&binds.each_ref().map(String::as_str));
    let mut seen = vec![program.pid().to_string()];
    for endpoint in program.endpoints() {
        let pid = ask(endpoint, "pid");
        assert!(!seen.contains(&pid), "{endpoint}");
        assert_eq!(ask(endpoint, "echo hello"), "hello", "{endpoint}");
        seen.push(pid);
    }
    program.close();
    assert_eq!(program.children(), []);
    assert_eq!(program.end(), [""; 0]);
}

fn the_loop_reaps_children_by_itself() {
    let program = Program::serving(&[TCP]);
    for _ in 0..5 {
        let pid: i32 = ask(program.endpoint(), "pid").parse().unwrap();
        wait_until("nothing is left", || program.children().is_empty());
        assert!(fs::metadata(format!("/proc/{pid}")).is_err());
    }
    program.wait_until_blocked();
}

/// The assertions of CPython's `test_Forking*`. Its `waitpid(-1)` can still reap these
/// children.
fn other_children_of_the_process_are_left_alone() {
    let mut program = Program::start("server", &[TCP, "max_children=1"]);
    program.tell("foreign");
    let line = program.line();
    let foreign: i32 = line.strip_prefix("foreign ").unwrap().parse().unwrap();
    let status = end_of(foreign);
    program.tell("serve");
    for _ in 0..3 {
        assert_eq!(ask(program.endpoint(), "echo x"), "x");
    }
    wait_until("the server's children are gone", || program.children() == [foreign]);
    program.close();
    assert_eq!(end_of(foreign), status);
    program.expect("foreign_status", &["foreign_status Ok(Some(72))"]);
    assert_eq!(program.end(), [""; 0]);
}

fn b64_a_datagram_is_answered_by_a_child_while_others_are_taken() {
    let (directory, endpoints) = datagram_endpoints();
    let gate = directory.path().join("gate");
    let listener = UnixListener::bind(&gate).unwrap();
    let binds = endpoints.iter().map(|endpoint| format!("bind={endpoint}"));
    let binds: Vec<String> = binds.collect();
    let mut program = Program::serving(&binds.iter().map(String::as_str).collect::<Vec<_>>());
    let mut held = Vec::new();
    for endpoint in program.endpoints() {
        let client = Gram::new(endpoint.address()).connected();
        client.send(format!("hold {}", gate.display()).as_bytes());
        held.push((listener.accept().unwrap(), client));
        assert_eq!(ask(endpoint, "echo meanwhile"), "meanwhile");
    }
    // They also reply after the server's own socket is closed (B46).
    program.tell("close");
    assert_eq!(program.line(), "served ok");
    program.wait_until_blocked();
    for (gate, client) in held {
        assert!(client.has_nothing());
        drop(gate);
        let pid: i32 = String::from_utf8(client.receive()).unwrap().parse().unwrap();
        assert_ne!(pid, program.pid());
    }
    assert_eq!(program.line(), "closed");
}

fn five_hundred_requests_leave_nothing_behind() {
    let mut program = Program::serving(&[TCP, "bind=udp://127.0.0.1:0"]);
    let round = |count: usize| {
        for i in 0..count {
            let text = i.to_string();
            for endpoint in program.endpoints() {
                assert_eq!(ask(endpoint, &format!("echo {text}")), text);
            }
        }
        wait_until("nothing is left", || program.children().is_empty());
        program.wait_until_blocked();
        program.descriptors()
    };
    let before = round(5);
    assert_eq!(round(250), before);
    program.expect("active", &["served ok", "active 0"]);
}

/// Counts requests and failures in the process where they end.
struct Counts(Arc<Shared<[AtomicU64; 3]>>);

impl Hooks for Counts {
    fn request_finished(&self, request: &Request, _: &Address, error: Option<&HandlerError>) {
        for (counter, number) in
            self.0.iter().zip([1, u64::from(error.is_some()), request.received()])
        {
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }
}

fn counting_program(_: &[String]) {
    let counters = Arc::new(Shared::<[AtomicU64; 3]>::zeroed().unwrap());
    let forking = Concurrency::Forking(Forking::new());
    let server = Server::builder(programs::obey).bind(common::localhost()).concurrency(forking);
    programs::drive(server.hooks(Counts(Arc::clone(&counters))));
    println!("counted {:?}", counters.each_ref().map(|counter| counter.load(Ordering::Relaxed)));
}

fn the_parent_sees_the_shared_counters_of_its_children() {
    let mut program = Program::start("counting", &[]);
    program.tell("serve");
    for _ in 0..3 {
        assert_eq!(ask(program.endpoint(), "echo 1"), "1");
    }
    assert_eq!(Client::with_order(program.endpoint(), "fail on purpose").rest(), "");
    program.close();
    let received = 3 * "echo 1\n".len() + "fail on purpose\n".len();
    assert_eq!(program.end(), [format!("counted [4, 1, {received}]")]);
}
