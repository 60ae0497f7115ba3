//! The conformance probes: the same scripts run against CPython's servers and against the
//! binary.

use std::process::Command;

use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::fixture::serve;

/// The runs of `run_all.py` that do not hold for the binary. In CPython a handler sees the
/// state that earlier requests left on the server. Here no state outlives a request, as
/// `no_state_outlives_a_request` shows.
const SHARED_STATE: &str = "^p_fresh fresh [a-z]+ (sync|threading)";

/// The checks of `proc_lifecycle.py` that do not hold for the binary. In CPython a handler that
/// exits ends a server without threads, and clients that wait when the server ends are reset.
/// Here no handler ends the host, and `serve` serves those clients first.
const ONLY_CPYTHON: [&str; 2] = ["ErrorHandlerTest, sync", "clients waiting in the backlog when"];

fn python() -> Option<Command> {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        println!("skipped: there is no python3");
    }
    found.then(|| Command::new("python3"))
}

/// Runs a script of probes, and returns the number of checks that passed.
fn run(script: &str, arguments: &[&str]) -> usize {
    let Some(mut python) = python() else { return 0 };
    let output = python
        .arg(build::root().join("tests/conformance/probes").join(script))
        .args(arguments)
        .env("WASM_SOCKETSERVER", build::host().unwrap())
        .env("XDG_CACHE_HOME", build::root().join("target/tests-cache"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    assert!(output.status.success(), "{script} {arguments:?}:\n{text}");
    let passed = last.strip_suffix(" passed, 0 failed").unwrap_or_else(|| panic!("{text}"));
    println!("{script} {arguments:?}: {last}");
    passed.parse().unwrap()
}

/// Returns the command that starts the binary for the probes.
fn binary_command() -> String {
    let launcher = build::root().join("tests/conformance/launch.py");
    format!("python3 {} {{sample}} --bind {{bind}} --mode {{mode}}", launcher.display())
}

/// Runs the probes in every mode and transport, and returns the number of checks that passed.
fn matrix(server: &[&str], only: &str) -> usize {
    let arguments = [&["--no-proc", "--only", only], server].concat();
    run("run_all.py", &arguments)
}

/// Returns the checks of whole processes: the name of each, and its code.
fn process_checks() -> Vec<(&'static str, &'static str)> {
    let script = include_str!("../conformance/probes/proc_lifecycle.py");
    let checks = script.split("\n@check(").skip(1);
    checks.filter_map(|code| Some((code.split('"').nth(3)?, code))).collect()
}

#[test]
fn the_binary_passes_the_probes() {
    let all_but_shared_state = format!("^(?!{})", &SHARED_STATE[1..]);
    let passed = matrix(&["--server-cmd", &binary_command()], &all_but_shared_state);
    assert!(passed > 500 || python().is_none(), "only {passed} checks ran");
}

#[test]
fn the_binary_passes_the_probes_in_fibers() {
    for mode in ["fibers", "fibers-in-workers"] {
        let only = format!("^(?!p_fresh).* {mode}");
        let passed = matrix(&["--modes", mode, "--server-cmd", &binary_command()], &only);
        assert!(passed > 150 || python().is_none(), "only {passed} checks ran");
    }
}

#[test]
fn cpython_passes_the_probes() {
    let passed = matrix(&[], ".");
    assert!(passed > 500 || python().is_none(), "only {passed} checks ran");
}

#[test]
fn the_binary_passes_the_checks_of_whole_processes() {
    let checks = process_checks();
    let is_only_cpython = |name: &str| ONLY_CPYTHON.iter().any(|other| name.starts_with(other));
    let only_cpython = checks.iter().filter(|(name, _)| is_only_cpython(name));
    assert_eq!(only_cpython.count(), ONLY_CPYTHON.len(), "{checks:?}");
    for (name, code) in checks.iter().filter(|(name, _)| !is_only_cpython(name)) {
        let modes: &[&str] = if code.contains("\"threading\"") {
            &["threading", "fibers", "fibers-in-workers"]
        } else {
            &["threading"]
        };
        for threads_as in modes {
            let server = format!("{} --threads-as {threads_as}", binary_command());
            let passed = run("proc_lifecycle.py", &["--only", name, "--server-cmd", &server]);
            assert!(passed == 1 || python().is_none(), "{name}, {threads_as}: {passed} ran");
        }
    }
}

#[test]
fn cpython_passes_the_checks_of_whole_processes() {
    let passed = run("proc_lifecycle.py", &[]);
    assert!(passed == process_checks().len() || python().is_none(), "{passed} checks ran");
}

#[test]
fn no_state_outlives_a_request() {
    for mode in ["sync", "threading", "forking", "fibers"] {
        let mut server = serve();
        server.arg(build::guest("rust", "fresh").unwrap()).args(["--concurrency", mode]);
        let server = Server::start(&mut server, 1).unwrap();
        let address = server.address().to_string();
        let passed = run("p_fresh.py", &["--tcp", &address, "--shared", "const"]);
        assert!(passed == 2 || python().is_none(), "{mode}: {passed} checks ran");
    }
}
