//! Handlers in languages whose libraries import WASI.

use std::path::{Path, PathBuf};

use serde_json::Value;
use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::client::ask;
use crate::fixture::{MODES, host, serve};

/// Returns the output of `inspect` for a handler.
fn inspect(handler: &Path, options: &[&str]) -> String {
    let said = host().arg("inspect").arg(handler).args(options).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

/// Returns the output of `inspect --json` for a handler.
fn inspect_json(handler: &Path) -> Value {
    serde_json::from_str(&inspect(handler, &["--json"])).unwrap()
}

/// Returns the names of the WASI interfaces that a handler imports, without versions.
fn imported(handler: &Path) -> Vec<String> {
    let inspected = inspect_json(handler);
    let imports = inspected["imports"].as_array().unwrap().iter();
    imports
        .filter_map(|import| import["name"].as_str().unwrap().split_once('@'))
        .filter(|(name, _)| name.starts_with("wasi:"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn guest(language: &str, name: &str) -> PathBuf {
    build::guest(language, name).unwrap()
}

#[test]
fn handlers_in_cpp_and_go_are_served_without_grants_in_each_mode() {
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

/// A guest in C imports only what the C functions that it calls need.
#[test]
fn a_handler_in_c_imports_wasi_only_if_it_prints() {
    assert_eq!(imported(&guest("c", "upper")), [""; 0]);
    let printing = imported(&guest("c", "goodbye"));
    assert!(printing.iter().any(|name| name == "wasi:cli/stdout"), "{printing:?}");
}

/// The host provides all that Rust's library imports, in each version.
#[test]
fn a_handler_of_a_plain_cargo_build_for_wasip2_is_served() {
    let handler = guest("rust", "wasip2");
    let imported = imported(&handler);
    for name in ["cli/stdout", "cli/environment", "clocks/wall-clock", "random/insecure-seed"] {
        let name = format!("wasi:{name}");
        assert!(imported.contains(&name), "{name} is not in {imported:?}");
    }
    for mode in MODES {
        let mut command = serve();
        command.arg(&handler).args(["--env", "A=b"]).args(mode);
        let mut server = Server::start(&mut command, 1).unwrap();
        let found = || {
            let found = String::from_utf8(ask(&server, b"w")).unwrap();
            let words: Vec<&str> = found.split(' ').collect();
            let [slept, time, vars, no_files, key] = words[..] else { panic!("{found}") };
            // The handler has slept, and sees the environment but no directory.
            assert_eq!([slept, vars, no_files], ["true", "1", "true"], "{mode:?}");
            assert!(time.parse::<u64>().unwrap() > 1_700_000_000, "{mode:?}: {time}");
            key.to_owned()
        };
        // The keys of hash maps differ between requests.
        assert_ne!(found(), found(), "{mode:?}");
        assert!(server.stop().unwrap().success());
        assert!(!server.log().iter().any(|line| line.contains("Exception")), "{mode:?}");
    }
}
