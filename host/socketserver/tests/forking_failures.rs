//! `Concurrency::Forking`: requests that fail, children that die, and processes
//! that cannot fork.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod programs;

use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use common::{Gram, wait_until};
use programs::{
    Client, Lines, Program, ask, drive, end_of, print_child_error, print_error, server,
    server_program, signal, tests, waiting_clients,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use socketserver::{Address, HandlerError, Hooks, Reason, Request};

fn main() -> ExitCode {
    programs::run(
        &[
            ("server", server_program),
            ("default_hooks", default_hooks_program),
            ("panicking_hooks", |arguments| drive(server(arguments).hooks(Panicking))),
            ("prepared", |arguments| drive(server(arguments).hooks(Prepared))),
            ("two_threads", two_threads_program),
            ("no_descriptors", |arguments| drive(server(arguments).hooks(NoDescriptors))),
            ("later_thread", |arguments| drive(server(arguments).hooks(LaterThread::default()))),
        ],
        tests![
            b49_a_child_ends_with_the_exit_status_of_cpython,
            b49_an_error_is_reported_in_the_child_and_the_server_goes_on,
            b49_a_system_exit_is_not_reported_and_the_server_goes_on,
            b49_the_request_is_shut_down_after_every_end_of_the_handler,
            b49_a_handle_error_that_panics_ends_only_its_child,
            a_child_that_is_killed_is_reported_with_its_client,
            a_child_that_ends_itself_is_reported,
            a_child_that_outlives_its_time_is_killed_and_its_permit_is_free,
            a_child_that_does_not_outlive_its_time_is_left_alone,
            a_killed_child_of_a_datagram_is_reported_with_its_client,
            the_default_report_of_a_killed_child_goes_to_standard_error,
            each_child_is_prepared_before_its_handler_runs,
            a_child_that_cannot_be_prepared_fails_its_request,
            a_process_with_two_threads_cannot_serve,
            children_without_a_pidfd_are_reaped_too,
            a_second_thread_fails_the_requests_that_come_while_it_runs,
        ],
    )
}

const TCP: &str = "bind=tcp://127.0.0.1:0";

/// Has one request served by a child that is not reaped. Returns the exit status of the
/// child, and the lines that were printed.
fn one_request(program: &mut Program, order: &str) -> (i32, Vec<String>) {
    let known = program.children();
    program.tell("handle_request");
    let mut client = Client::with_order(program.endpoint(), order);
    let mut lines = Vec::new();
    let mut until = |program: &Program, last: &str| {
        lines.extend(std::iter::repeat_with(|| program.line()).take_while(|line| line != last));
    };
    until(program, "handled ok");
    client.rest();
    let mut children = program.children();
    children.retain(|child| !known.contains(child));
    let [child] = children[..] else { panic!("{children:?}") };
    let status = end_of(child);
    program.tell("collect");
    until(program, "collected");
    let client = client.address();
    let known = [(child.to_string(), "CHILD"), (client, "CLIENT")];
    for line in &mut lines {
        for (value, name) in &known {
            *line = line.replace(value, name);
        }
    }
    (status, lines)
}

/// CPython's `test_forking_handled` and `test_forking_not_handled`.
fn b49_a_child_ends_with_the_exit_status_of_cpython() {
    let mut program = Program::start("server", &[TCP]);
    let error = |text: &str| vec![format!("error in CHILD for CLIENT: guest {text}")];
    for (order, status, lines) in [
        ("echo", 0, vec![]),
        ("fail sorry", 1, error("error: sorry")),
        ("panic oh", 1, error("panic: oh")),
        ("exit 0", 1, vec![]),
        ("exit 3", 1, vec![]),
    ] {
        assert_eq!(one_request(&mut program, order), (status << 8, lines), "{order}");
    }
}

fn b49_an_error_is_reported_in_the_child_and_the_server_goes_on() {
    let mut program = Program::serving(&[TCP]);
    for order in ["fail sorry", "panic sorry"] {
        let mut client = Client::with_order(program.endpoint(), order);
        let line = program.line();
        let address = client.address();
        assert!(line.contains(&format!(" for {address}: guest ")), "{line}");
        assert!(line.ends_with(": sorry"), "{line}");
        assert!(!line.contains(&format!("error in {} ", program.pid())), "{line}");
        assert_eq!(client.rest(), "");
        assert_eq!(ask(program.endpoint(), "echo next"), "next");
    }
    wait_until("nothing is left", || program.children().is_empty());
    program.close();
    assert_eq!(program.end(), [""; 0], "it is reported once");
}

fn b49_a_system_exit_is_not_reported_and_the_server_goes_on() {
    let mut program = Program::serving(&[TCP]);
    for status in 0..3 {
        assert_eq!(ask(program.endpoint(), &format!("exit {status}")), "");
        assert_eq!(ask(program.endpoint(), "echo next"), "next");
    }
    program.close();
    assert_eq!(program.end(), [""; 0]);
}

/// The close of a connection with unread input is a reset, unless its sending side was shut
/// down before.
fn b49_the_request_is_shut_down_after_every_end_of_the_handler() {
    let program = Program::serving(&[TCP]);
    for order in ["echo x", "fail", "panic", "exit 1"] {
        for _ in 0..10 {
            let mut client = Client::connect(program.endpoint());
            let unread = "x".repeat(10_000);
            client.0.write_all(format!("{order}\n{unread}").as_bytes()).unwrap();
            assert_eq!(client.rest(), if order == "echo x" { "x\n" } else { "" });
        }
    }
}

struct Panicking;

impl Hooks for Panicking {
    fn handle_error(&self, _request: &Request, client: &Address, error: &HandlerError) {
        print_error(client, error);
        panic!("in handle_error");
    }

    fn handle_child_error(&self, client: Option<&Address>, error: &HandlerError) {
        print_child_error(client, error);
        panic!("in handle_child_error");
    }
}

fn b49_a_handle_error_that_panics_ends_only_its_child() {
    let mut program = Program::start("panicking_hooks", &[TCP]);
    let lines = vec!["error in CHILD for CLIENT: guest error: x".to_owned()];
    assert_eq!(one_request(&mut program, "fail x"), (1 << 8, lines));
    program.tell("serve");
    let _client = Client::with_order(program.endpoint(), "signal 9");
    assert!(program.line().starts_with("child-error for"));
    assert_eq!(ask(program.endpoint(), "echo next"), "next");
    program.close();
}

fn a_child_that_is_killed_is_reported_with_its_client() {
    let mut program = Program::serving(&[TCP]);
    for number in [Signal::KILL, Signal::TERM, Signal::ABORT] {
        let (mut client, child) = Client::holding(program.endpoint());
        signal(child, number);
        let (address, number) = (client.address(), number.as_raw());
        assert_eq!(
            program.line(),
            format!(
                "child-error for {address}: host child: process {child} was ended by signal {number}"
            )
        );
        assert_eq!(client.rest(), "", "the connection has ended");
        assert_eq!(ask(program.endpoint(), "echo next"), "next");
    }
    program.close();
    assert_eq!(program.children(), []);
    assert_eq!(program.end(), [""; 0]);
}

fn a_child_that_ends_itself_is_reported() {
    let mut program = Program::serving(&[TCP]);
    for (order, how) in [
        ("signal 11", "was ended by signal 11"),
        ("leave 3", "ended with status 3"),
        ("leave 255", "ended with status 255"),
    ] {
        let mut client = Client::with_order(program.endpoint(), order);
        assert_eq!(client.rest(), "");
        let line = program.line();
        assert!(line.contains(&client.address()) && line.ends_with(how), "{line}");
        assert_eq!(ask(program.endpoint(), "echo next"), "next");
    }
    // With this status a child shows that it has reported its error itself.
    assert_eq!(ask(program.endpoint(), "leave 1"), "");
    program.close();
    assert_eq!(program.end(), [""; 0]);
}

fn a_killed_child_of_a_datagram_is_reported_with_its_client() {
    let program = Program::serving(&["bind=udp://127.0.0.1:0"]);
    let client = Gram::new(program.endpoint().address());
    client.send(b"signal 9");
    let line = program.line();
    assert!(line.starts_with(&format!("child-error for {}: host child: ", client.address())));
    assert_eq!(client.talk(b"echo next"), b"next");
}

/// In every state of the loop, with a pidfd for the child and without.
fn a_child_that_outlives_its_time_is_killed_and_its_permit_is_free() {
    for (program, order) in [
        ("server", "serve"),
        ("server", "handle_request"),
        ("server", "close"),
        ("no_descriptors", "serve"),
        ("no_descriptors", "handle_request"),
    ] {
        let mut program =
            Program::start(program, &[TCP, "max_children=1", "max_lifetime=300", "timeout=60000"]);
        program.tell(if order == "close" { "serve" } else { order });
        let (mut client, child) = Client::holding(program.endpoint());
        let mut next = None;
        match order {
            "serve" => next = Some(Client::with_order(program.endpoint(), "echo next")),
            "close" => program.tell("close"),
            _ => {
                program.expect(order, &["handled ok"]);
                next = Some(Client::with_order(program.endpoint(), "echo next"));
            }
        }
        let mut line = program.line();
        if order == "close" {
            assert_eq!(line, "served ok");
            line = program.line();
        }
        let begin = format!(
            "child-error for {}: host lifetime: process {child} was still there after ",
            client.address()
        );
        assert!(line.starts_with(&begin) && line.ends_with("s, and was killed"), "{line}");
        assert_eq!(client.rest(), "", "{order}");
        if let Some(mut next) = next {
            assert_eq!(next.rest(), "next\n", "{order}");
        } else {
            assert_eq!(program.line(), "closed");
        }
        wait_until("nothing is left", || !program.children().contains(&child));
    }
}

fn a_child_that_does_not_outlive_its_time_is_left_alone() {
    let mut program = Program::serving(&[TCP, "max_lifetime=3600000"]);
    let (client, _) = Client::holding(program.endpoint());
    assert_eq!(ask(program.endpoint(), "echo next"), "next");
    program.wait_until_blocked();
    client.done();
    program.close();
    assert_eq!(program.end(), [""; 0]);
}

fn default_hooks_program(arguments: &[String]) {
    drive(server(arguments).hooks(socketserver::DefaultHooks));
}

fn the_default_report_of_a_killed_child_goes_to_standard_error() {
    let mut program = Program::start("default_hooks", &[TCP]);
    program.tell("serve");
    let (client, child) = Client::holding(program.endpoint());
    signal(child, Signal::KILL);
    let address = client.address();
    assert_eq!(
        program.error_line(),
        format!("the child for {address} failed: process {child} was ended by signal 9")
    );
    program.close();
    assert_eq!(program.end(), [""; 0]);
}

/// Hooks that prepare each child but the second.
struct Prepared;

static ACCEPTED: AtomicUsize = AtomicUsize::new(0);

impl Hooks for Prepared {
    fn verify_request(&self, _request: &Request, _client_address: &Address) -> bool {
        ACCEPTED.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn after_fork_in_child(&self, _request: Option<&Request>) -> Result<(), HandlerError> {
        println!("prepared {}", std::process::id());
        if ACCEPTED.load(Ordering::SeqCst) == 2 {
            return Err(HandlerError::new(Reason::NoInstance, "no engine"));
        }
        assert_ne!(ACCEPTED.load(Ordering::SeqCst), 3, "a hook that panics");
        Ok(())
    }

    fn handle_error(&self, _request: &Request, client: &Address, error: &HandlerError) {
        print_error(client, error);
    }

    fn handle_child_error(&self, client: Option<&Address>, error: &HandlerError) {
        Lines.handle_child_error(client, error);
    }
}

fn each_child_is_prepared_before_its_handler_runs() {
    let mut program = Program::start("prepared", &[TCP]);
    program.tell("serve");
    let (client, child) = Client::holding(program.endpoint());
    // It was printed before the client was answered.
    assert_eq!(program.line(), format!("prepared {child}"));
    client.done();
}

fn a_child_that_cannot_be_prepared_fails_its_request() {
    let mut program = Program::start("prepared", &[TCP]);
    assert_eq!(one_request(&mut program, "echo"), (0, vec!["prepared CHILD".to_owned()]));
    let (status, lines) = one_request(&mut program, "panic: the handler does not run");
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(lines, ["prepared CHILD", "error in CHILD for CLIENT: host no-instance: no engine"]);
    assert_eq!(status, 1 << 8);
    // The parent reports a status that is not 0 or 1.
    assert_eq!(one_request(&mut program, "echo").0, 101 << 8);
    assert_eq!(one_request(&mut program, "echo").0, 0);
}

fn two_threads_program(arguments: &[String]) {
    let (_keep, wait) = mpsc::channel::<()>();
    thread::spawn(move || wait.recv());
    drive(server(arguments));
}

fn a_process_with_two_threads_cannot_serve() {
    for workers in [None, Some("workers=2")] {
        let arguments: Vec<&str> = [TCP].into_iter().chain(workers).collect();
        let mut program = Program::start("two_threads", &arguments);
        let client = Client::with_order(program.endpoint(), "echo");
        program.expect("serve", &["served Threads(2)"]);
        program.expect("handle_request", &["handled Threads(2)"]);
        assert_eq!(program.children(), []);
        assert!(client.has_nothing(), "it waits for better times");
    }
}

/// Hooks that start a second thread at the second request, and end it when that has failed.
#[derive(Default)]
struct LaterThread {
    requests: AtomicUsize,
    thread: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Hooks for LaterThread {
    fn verify_request(&self, _request: &Request, _client_address: &Address) -> bool {
        if self.requests.fetch_add(1, Ordering::SeqCst) == 1 {
            let (end, ended) = mpsc::channel();
            let thread = thread::spawn(move || {
                let _ = ended.recv();
            });
            *self.thread.lock().unwrap() = Some((end, thread));
        }
        true
    }

    fn handle_error(&self, _request: &Request, client: &Address, error: &HandlerError) {
        print_error(client, error);
        let (end, thread) = self.thread.lock().unwrap().take().unwrap();
        drop(end);
        thread.join().unwrap();
        // The kernel takes a moment longer.
        wait_until("there is one thread", || fs::read_dir("/proc/self/task").unwrap().count() == 1);
    }
}

fn a_second_thread_fails_the_requests_that_come_while_it_runs() {
    let mut program = Program::start("later_thread", &[TCP]);
    program.tell("serve");
    assert_eq!(ask(program.endpoint(), "echo first"), "first");
    let mut client = Client::with_order(program.endpoint(), "echo second");
    assert_eq!(client.rest(), "");
    let line = program.line();
    let (pid, address) = (program.pid(), client.address());
    assert!(
        line.starts_with(&format!("error in {pid} for {address}: host no-process: ")),
        "{line}"
    );
    assert!(line.ends_with("and this one has 2"), "{line}");
    assert_eq!(ask(program.endpoint(), "echo third"), "third");
    program.close();
    assert_eq!(program.end(), [""; 0]);
}

/// Hooks that take all descriptors of the process once the first request is accepted.
struct NoDescriptors;

impl Hooks for NoDescriptors {
    fn verify_request(&self, _request: &Request, _client_address: &Address) -> bool {
        static TAKEN: Mutex<Vec<fs::File>> = Mutex::new(Vec::new());
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit }).unwrap();
        TAKEN.lock().unwrap().extend(std::iter::from_fn(|| fs::File::open("/dev/null").ok()));
        true
    }

    fn handle_child_error(&self, client: Option<&Address>, error: &HandlerError) {
        print_child_error(client, error);
    }
}

fn children_without_a_pidfd_are_reaped_too() {
    for order in ["serve", "handle_request"] {
        let mut program = Program::start("no_descriptors", &[TCP, "max_children=1"]);
        program.tell(order);
        let (client, child) = Client::holding(program.endpoint());
        if order == "handle_request" {
            program.expect(order, &["handled ok"]);
        }
        let mut next = Client::with_order(program.endpoint(), "echo next");
        wait_until("the client waits", || waiting_clients(program.endpoint()) == 1);
        client.done();
        assert_eq!(next.rest(), "next\n", "{order}");
        assert!(!program.children().contains(&child), "it was taken note of");
    }
}
