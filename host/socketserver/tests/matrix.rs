//! CPython's `SocketServerTest`: each transport with each way of running
//! requests, from its construction to its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod programs;

use std::process::ExitCode;

use common::unique_name;
use libtest_mimic::Trial;
use programs::{Program, ask, class_program, end_of, server_program};
use socketserver::ServerClass;

fn main() -> ExitCode {
    let classes = ServerClass::ALL.map(|class| {
        let run = move || {
            let (_directory, endpoint) = endpoint(scheme(class.name()));
            let program = Program::start("class", &[class.name(), &endpoint]);
            run_server(program, class.name().starts_with("Forking"));
            Ok(())
        };
        Trial::test(class.name(), run)
    });
    let workers = ["threading", "fibers"].into_iter().flat_map(|concurrency| {
        ["tcp", "udp", "unix", "unixgram"].map(|scheme| {
            let run = move || {
                let (_directory, endpoint) = endpoint(scheme);
                let bind = format!("bind={endpoint}");
                run_server(Program::start("server", &[&bind, "workers=2", concurrency]), true);
                Ok(())
            };
            Trial::test(format!("Workers ({concurrency}) over {scheme}"), run)
        })
    });
    let tests = classes.into_iter().chain(workers).collect();
    programs::run(&[("class", class_program), ("server", server_program)], tests)
}

/// Returns the transport that a name of CPython stands for.
fn scheme(name: &str) -> &'static str {
    let transports =
        [("TCP", "tcp"), ("UDP", "udp"), ("UnixStream", "unix"), ("UnixDatagram", "unixgram")];
    transports.into_iter().find(|(part, _)| name.contains(part)).unwrap().1
}

/// Returns a free endpoint, and its directory if it has one.
fn endpoint(scheme: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let address = match scheme {
        "tcp" | "udp" => "127.0.0.1:0".to_owned(),
        _ => directory.path().join(unique_name()).display().to_string(),
    };
    (directory, format!("{scheme}://{address}"))
}

/// CPython's function with that name.
fn run_server(mut program: Program, forks: bool) {
    program.tell("addresses");
    let address = program.endpoint().address();
    assert_eq!(program.line(), format!("addresses {address} {address}"));
    program.tell("foreign");
    let foreign: i32 = program.line().strip_prefix("foreign ").unwrap().parse().unwrap();
    let status = end_of(foreign);

    program.tell("serve");
    for text in ["hello world", "hello again", ""] {
        assert_eq!(ask(program.endpoint(), &format!("echo {text}")), text);
    }

    assert_eq!(ask(program.endpoint(), "pid") != program.pid().to_string(), forks);

    program.close();
    program.expect("fileno", &["fileno None"]);
    program.expect("active", &["active 0"]);
    assert_eq!(program.children(), [foreign], "and its own children are gone");
    assert_eq!(end_of(foreign), status);
    program.expect("foreign_status", &["foreign_status Ok(Some(72))"]);
    assert_eq!(program.end(), [""; 0]);
}
