//! A graceful shutdown with every concurrency: clients in the backlog are served, and later
//! ones are refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod programs;

use std::os::unix::net::UnixListener;
use std::process::ExitCode;

use common::{Gram, datagram_endpoints, errno, to_kernel, unique_name, wait_until};
use programs::{Client, Program, ask, listens, server_program, tests};
use rustix::io::Errno;

fn main() -> ExitCode {
    programs::run(
        &[("server", server_program)],
        tests![
            clients_that_wait_are_served_in_order_and_later_ones_refused,
            workers_take_the_clients_that_wait,
            an_idle_server_ends_at_once,
            sockets_take_turns,
            children_hold_no_descriptor_of_waiting_clients,
            datagrams_that_wait_are_answered_and_later_ones_are_not,
            clients_that_are_not_served_in_time_are_closed,
            closing_without_a_shutdown_serves_clients_that_wait_too,
        ],
    )
}

const TCP: &str = "bind=tcp://127.0.0.1:0";

/// The settings of each concurrency for one request at a time.
const MODES: [&[&str]; 5] = [
    &["sync"],
    &["threading", "max_requests=1"],
    &["max_children=1"],
    &["workers=1", "max_requests=1"],
    &["workers=1", "max_requests=1", "fibers"],
];

fn graceful(arguments: &[&str], mode: &[&str]) -> Program {
    Program::serving(&[arguments, mode, &["graceful"]].concat())
}

fn is_sync(mode: &[&str]) -> bool {
    mode[0] == "sync"
}

/// Returns clients that have sent an order, and wait.
fn waiting(program: &Program, count: usize) -> Vec<Client> {
    (0..count).map(|n| Client::with_order(program.endpoint(), &format!("echo {n}"))).collect()
}

fn refuses(program: &Program) -> bool {
    let client = Client::try_connect(program.endpoint()).map(drop);
    errno(client) == Some(Errno::CONNREFUSED)
}

fn clients_that_wait_are_served_in_order_and_later_ones_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    for mode in MODES {
        let endpoints = [
            TCP.to_owned(),
            "bind=tcp://[::1]:0".to_owned(),
            format!("bind=unix://{}", path.display()),
            format!("bind=unix://@{}", unique_name()),
        ];
        for bind in endpoints {
            let mut program = graceful(&[&bind], mode);
            let (held, _) = Client::holding(program.endpoint());
            let five = waiting(&program, 5);
            program.tell("close");
            // A server that runs requests in its loop sees the order after these requests.
            if !is_sync(mode) {
                assert_eq!(program.line(), "served ok");
                wait_until("the socket does not listen", || !listens(program.endpoint()));
                assert!(refuses(&program), "{mode:?} {bind}");
                assert!(five.iter().all(Client::has_nothing), "{mode:?} {bind}");
            }
            held.done();
            for (n, mut client) in five.into_iter().enumerate() {
                assert_eq!(client.rest(), format!("{n}\n"), "{mode:?} {bind}");
            }
            if is_sync(mode) {
                assert_eq!(program.line(), "served ok");
            }
            assert_eq!(program.line(), "closed");
            assert!(refuses(&program));
            program.expect("serve", &["served Closed"]);
            assert_eq!(program.end(), [""; 0], "{mode:?} {bind}");
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn workers_take_the_clients_that_wait() {
    for bind in [TCP.to_owned(), format!("bind=unix://@{}", unique_name())] {
        let mut program = graceful(&[&bind], &["workers=3", "max_requests=1"]);
        let held = [(); 3].map(|()| Client::holding(program.endpoint()).0);
        let all = waiting(&program, 30);
        program.tell("close");
        assert_eq!(program.line(), "served ok");
        wait_until("the socket does not listen", || !listens(program.endpoint()));
        assert!(refuses(&program), "{bind}");
        held.into_iter().for_each(Client::done);
        for (n, mut client) in all.into_iter().enumerate() {
            assert_eq!(client.rest(), format!("{n}\n"), "{bind}");
        }
        assert_eq!(program.line(), "closed");
        assert_eq!(program.end(), [""; 0]);
    }
}

fn an_idle_server_ends_at_once() {
    for mode in MODES {
        let mut program = graceful(&[TCP, "bind=udp://127.0.0.1:0"], mode);
        assert_eq!(ask(program.endpoint(), "echo x"), "x");
        program.close();
        assert_eq!(program.end(), [""; 0], "{mode:?}");
    }
}

fn sockets_take_turns() {
    let mut program = graceful(&[TCP, TCP], &["threading", "max_requests=1"]);
    let (held, _) = Client::holding(program.endpoint());
    let on = |place: usize| program.endpoints()[place].clone();
    let [first, second] =
        [0, 1].map(|place| [(); 2].map(|()| Client::with_order(&on(place), "hold")));
    program.tell("close");
    assert_eq!(program.line(), "served ok");
    held.done();
    let ([mut a, mut c], [mut b, mut d]) = (first, second);
    for client in [&mut a, &mut b, &mut c, &mut d] {
        // Its turn has come: another client would wait until this client is done.
        client.line().parse::<i32>().unwrap();
        client.0.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.rest(), "done\n");
    }
    assert_eq!(program.line(), "closed");
}

fn children_hold_no_descriptor_of_waiting_clients() {
    let mut program = graceful(&[TCP, "bind=udp://127.0.0.1:0"], &["max_children=1"]);
    let (held, _) = Client::holding(program.endpoint());
    let datagram = Gram::new(program.endpoints()[1].address());
    let clients = [(); 5].map(|()| Client::with_order(program.endpoint(), "sockets"));
    datagram.send(b"echo x");
    program.tell("close");
    assert_eq!(program.line(), "served ok");
    held.done();
    for mut client in clients {
        let sockets = client.rest();
        assert_eq!(sockets.split_whitespace().count(), 1, "{sockets}");
    }
    assert_eq!(datagram.receive(), b"x");
    assert_eq!(program.line(), "closed");
    assert_eq!(program.end(), [""; 0]);
}

fn datagrams_that_wait_are_answered_and_later_ones_are_not() {
    for mode in MODES {
        let (directory, endpoints) = datagram_endpoints();
        let path = directory.path().join("gate");
        let gate = UnixListener::bind(&path).unwrap();
        for endpoint in endpoints {
            let mut program = graceful(&[&format!("bind={endpoint}")], mode);
            let clients = [(); 6].map(|()| Gram::new(program.endpoint().address()));
            let (held, five) = clients.split_first().unwrap();
            held.send(format!("hold {}", path.display()).as_bytes());
            let (held_up, _) = gate.accept().unwrap();
            for client in five {
                client.send(b"echo x");
            }
            program.tell("close");
            let late = Gram::new(program.endpoint().address());
            if !is_sync(mode) {
                assert_eq!(program.line(), "served ok");
                program.wait_until_blocked();
                assert!(five.iter().all(Gram::has_nothing));
            }
            if !is_sync(mode) {
                let address = program.endpoint().address();
                let sent = late.socket.send_to(b"echo late", &to_kernel(address));
                // A UDP socket cannot refuse datagrams and still send answers.
                let is_ip = address.to_socket_addr().is_some();
                assert_eq!(errno(sent), (!is_ip).then_some(Errno::PIPE), "{mode:?} {endpoint}");
            }
            drop(held_up);
            assert!(!held.receive().is_empty());
            for client in five {
                assert_eq!(client.receive(), b"x", "{mode:?} {endpoint}");
            }
            if is_sync(mode) {
                assert_eq!(program.line(), "served ok");
            }
            assert_eq!(program.line(), "closed");
            assert!(late.has_nothing());
            assert_eq!(program.end(), [""; 0], "{mode:?} {endpoint}");
        }
    }
}

fn clients_that_are_not_served_in_time_are_closed() {
    for mode in &MODES[1..] {
        let mut program = graceful(&[TCP], mode);
        let (held, _) = Client::holding(program.endpoint());
        let mut five = waiting(&program, 5);
        program.tell("close_within 0");
        assert_eq!(program.line(), "served ok");
        // A server with workers returns their number.
        let left = if mode[0] == "workers=1" { "left 1" } else { "left 6" };
        assert_eq!(program.line(), left, "{mode:?}");
        assert!(five.iter().all(Client::has_nothing));
        program.expect("close_within 1", &[left]);
        if mode[0] == "workers=1" {
            continue;
        }
        // As in Python, it waits for the request that runs, and not for the others.
        program.drop_orders();
        assert!(five.iter_mut().all(Client::is_closed), "{mode:?}");
        held.done();
        assert_eq!(program.end(), [""; 0]);
    }
}

fn closing_without_a_shutdown_serves_clients_that_wait_too() {
    let mut program = Program::start("server", &[TCP, "max_children=2", "graceful"]);
    let clients = waiting(&program, 5);
    program.expect("close", &["closed"]);
    for (n, mut client) in clients.into_iter().enumerate() {
        assert_eq!(client.rest(), format!("{n}\n"));
    }
    assert!(refuses(&program));
}
