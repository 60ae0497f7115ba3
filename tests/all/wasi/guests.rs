//! Handlers in languages whose libraries import WASI.

use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::client::ask;
use crate::fixture::serve;

/// They are served with nothing granted, however requests are run.
#[test]
fn handlers_in_cpp_and_go_are_served() {
    for language in ["cpp", "go"] {
        let handler = build::guest(language, "upper").unwrap();
        for mode in [
            &["--concurrency", "sync"][..],
            &["--concurrency", "threading"],
            &["--concurrency", "forking", "--jail", "try"],
            &["--workers", "2", "--jail", "try"],
        ] {
            let mut server = Server::start(serve().arg(&handler).args(mode), 1).unwrap();
            for _ in 0..3 {
                assert_eq!(ask(&server, b"hello"), b"HELLO", "{language} {mode:?}");
            }
            assert!(server.stop().unwrap().success());
            let failed = server.log().iter().any(|line| line.contains("Exception"));
            assert!(!failed, "{:#?}", server.log());
        }
    }
}
