//! `WorkerConcurrency::Fibers`: several processes whose requests are tasks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod programs;

use std::process::{self, ExitCode};

use common::{Answer, Asynchronous, wait_until};
use programs::{Client, Lines, Program, drive, signal, tests, waiting_clients};
use rustix::process::Signal;
use socketserver::{Address, Concurrency, Fibers, Request, Server, WorkerConcurrency, Workers};

fn main() -> ExitCode {
    programs::run(
        &[("fibers", fibers_program)],
        tests![
            a_worker_holds_many_requests_in_one_thread,
            each_worker_has_a_limit_of_its_own,
            a_killed_worker_costs_only_its_own_requests,
            closing_waits_for_the_requests_of_the_workers,
            workers_share_the_processors_out,
        ],
    )
}

/// The arguments are the address, the number of workers, and the requests of each at once.
fn fibers_program(arguments: &[String]) {
    let fibers = Fibers { threads: 1, max_requests: arguments[2].parse().ok(), ..Fibers::new() };
    let concurrency = WorkerConcurrency::Fibers(fibers);
    let workers = Workers { count: arguments[1].parse().unwrap(), concurrency };
    let builder =
        Server::builder(Asynchronous(hold)).hooks(Lines).bind(arguments[0].parse().unwrap());
    drive(builder.graceful_shutdown(true).concurrency(Concurrency::Workers(workers)));
}

fn serving(workers: usize, max_requests: Option<usize>) -> Program {
    let max_requests = max_requests.map_or("all".to_owned(), |max| max.to_string());
    let workers = workers.to_string();
    let mut program = Program::start("fibers", &["tcp://127.0.0.1:0", &workers, &max_requests]);
    program.tell("serve");
    program
}

/// Answers each line with the number of its process until the client ends its sending side, and
/// then `done`.
fn hold<'a>(request: &'a Request, _: &'a Address) -> Answer<'a> {
    Box::pin(async {
        let mut line = Vec::new();
        loop {
            let data = request.recv_async(64).await?;
            line.extend_from_slice(&data);
            if data.is_empty() {
                request.sendall_async(b"done\n").await?;
                return Ok(());
            }
            if line.ends_with(b"\n") {
                line.clear();
                let text = format!("{}\n", process::id());
                request.sendall_async(text.as_bytes()).await?;
            }
        }
    })
}

fn threads(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

fn a_worker_holds_many_requests_in_one_thread() {
    let mut program = serving(1, None);
    let held: Vec<_> = (0..100).map(|_| Client::holding(program.endpoint())).collect();
    let worker = program.children()[0];
    assert!(held.iter().all(|(_, pid)| *pid == worker));
    // The thread of the loop, and that of the requests.
    assert_eq!(threads(worker), 2);
    assert_eq!(threads(program.pid()), 1);
    for (client, _) in held {
        client.done();
    }
    program.close();
    assert_eq!(program.end(), [""; 0]);
}

fn each_worker_has_a_limit_of_its_own() {
    let mut program = serving(2, Some(1));
    let (one, first) = Client::holding(program.endpoint());
    let (other, second) = Client::holding(program.endpoint());
    let (mut workers, mut seen) = (program.children(), [first, second]);
    workers.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen[..], workers);
    let mut third = Client::with_order(program.endpoint(), "pid");
    wait_until("the client waits", || waiting_clients(program.endpoint()) == 1);
    assert!(third.has_nothing());
    other.done();
    assert_eq!(third.line(), second.to_string());
    [one, third].into_iter().for_each(Client::done);
    program.expect("max_requests", &["served ok", "max_requests 2"]);
    program.expect("close", &["closed"]);
    assert_eq!(program.end(), [""; 0]);
}

fn a_killed_worker_costs_only_its_own_requests() {
    let mut program = serving(2, Some(2));
    // Both workers have two.
    let mut held = [(); 4].map(|()| Client::holding(program.endpoint()));
    held.sort_by_key(|(_, pid)| *pid);
    let [(mut one, killed), (mut two, same), (third, other), (fourth, _)] = held;
    assert_eq!(killed, same);
    signal(killed, Signal::KILL);
    assert_eq!([one.rest(), two.rest()], ["", ""]);
    let line = program.line();
    assert!(line.ends_with(&format!("process {killed} was ended by signal 9")), "{line}");
    let (next, new) = Client::holding(program.endpoint());
    assert!(![killed, other].contains(&new));
    [third, fourth, next].into_iter().for_each(Client::done);
    program.close();
    assert_eq!(program.end(), [""; 0]);
}

fn closing_waits_for_the_requests_of_the_workers() {
    let mut program = serving(2, Some(1));
    let held = [(); 2].map(|()| Client::holding(program.endpoint()).0);
    let mut waiting = Client::with_order(program.endpoint(), "pid");
    wait_until("the client waits", || waiting_clients(program.endpoint()) == 1);
    program.tell("close");
    assert_eq!(program.line(), "served ok");
    assert!(held.iter().all(Client::has_nothing));
    // One of the workers has taken the client that waited.
    held.into_iter().for_each(Client::done);
    assert!(!waiting.line().is_empty());
    waiting.done();
    assert_eq!(program.line(), "closed");
    assert_eq!(program.end(), [""; 0]);
}

fn workers_share_the_processors_out() {
    let threads = |workers: Workers| match workers.concurrency {
        WorkerConcurrency::Fibers(fibers) => fibers.threads,
        WorkerConcurrency::Threading(_) => panic!("these have fibers"),
    };
    let all = Fibers::new().threads;
    assert_eq!(threads(Workers::with_fibers(1)), all);
    assert_eq!(threads(Workers::with_fibers(all)), 1);
    assert_eq!(threads(Workers::with_fibers(1_000_000)), 1);
}
