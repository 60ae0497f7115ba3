//! The memory of handlers in Python, which a build lays out so that a request has few page faults.

use std::path::Path;

use socketserver_tests::build;
use socketserver_tests::process::Server;
use socketserver_tests::procfs::page_faults;

use crate::client::ask;
use crate::fixture::serve;

/// The ways to run requests whose page faults are those of the server's own process.
const MODES: [&str; 2] = ["sync", "threading"];
const REQUESTS: u64 = 50;

/// Checks that a request of the handler `upper` has few page faults. It has 290 to 320 in a
/// component that is not laid out, and 115 to 150 in one that is.
pub fn check_faults(component: &Path) {
    for mode in MODES {
        let mut command = serve();
        let server =
            Server::start(command.arg(component).args(["--concurrency", mode]), 1).unwrap();
        let serve = |requests| {
            for _ in 0..requests {
                assert_eq!(ask(&server, b"hello\n"), b"HELLO");
            }
            page_faults(server.pid()).unwrap()
        };
        // The first requests begin with an empty pool.
        let before = serve(10);
        let faults = (serve(REQUESTS) - before) / REQUESTS;
        assert!((1..220).contains(&faults), "{mode}: {faults}");
    }
}

#[test]
fn a_request_has_few_page_faults() {
    check_faults(&build::guest("python", "upper").unwrap());
}

#[test]
fn a_handler_sees_nothing_of_the_layout_of_its_memory() {
    let handler = build::guest("python", "layout").unwrap();
    let server = Server::start(serve().arg(handler).args(["--concurrency", "threading"]), 1);
    let server = server.unwrap();
    let answer = |question: &[u8]| String::from_utf8(ask(&server, question)).unwrap();
    assert_eq!(answer(b"kept"), "[True, True, True, True, True, False]");
    assert_eq!(answer(b"freed"), "['in a list', 'watched', 'the finalizer', 'in a cycle']");
    let seen = "(1, [], [], True, 'layout', True, True, True, 0, True)";
    assert_eq!(answer(b"seen"), seen);
    assert_eq!(
        answer(b"allocated"),
        (20 * (0..600).sum::<u32>() + 9_000 * 4 + 11_000 * 5).to_string()
    );
}
