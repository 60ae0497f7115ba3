//! CPython's behaviour, probed from outside: the same probes against CPython's
//! own servers and against our binary.

use std::process::Command;

use socketserver_tests::build;

/// The probes of streams that our binary is ready for.
const MATRIX: &str = "^p_(upper|half_close|sink|large_echo|concurrent|rst|lifecycle|silent_client|\
                      backlog|dualstack|command|line|silent_handler) [a-z]+ (tcp6?|unix) ";

/// Checks of whole processes, by a part of their names, that are about
/// streams, one at a time or in threads.
const PROCESSES: [&str; 9] = [
    "in-flight handler finish",
    "sync: shutdown waits",
    "exits without waiting",
    "clients waiting in the backlog",
    "already in use by a live server",
    "allow_reuse_address False",
    "allow_reuse_address True",
    "closes / shuts down its own socket",
    "unix: socket file appears",
];

fn python() -> Option<Command> {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        println!("skipped: there is no python3");
    }
    found.then(|| Command::new("python3"))
}

/// Runs a script of probes and counts what passed.
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

fn ours() -> String {
    let launcher = build::root().join("tests/conformance/launch.py");
    format!("python3 {} {{sample}} --bind {{bind}} --mode {{mode}}", launcher.display())
}

fn matrix(server: &[&str]) {
    let mut arguments = vec!["--modes", "sync,threading", "--no-proc", "--only", MATRIX];
    arguments.extend(server);
    let passed = run("run_all.py", &arguments);
    assert!(passed > 200 || python().is_none(), "only {passed} checks ran");
}

fn processes(server: &[&str]) {
    for name in PROCESSES {
        let mut arguments = vec!["--only", name];
        arguments.extend(server);
        let passed = run("proc_lifecycle.py", &arguments);
        assert!(passed == 1 || python().is_none(), "{name}: {passed} checks ran");
    }
}

#[test]
fn probes_against_our_binary() {
    matrix(&["--server-cmd", &ours()]);
}

#[test]
fn probes_against_cpython() {
    matrix(&[]);
}

#[test]
fn whole_processes_of_our_binary() {
    processes(&["--server-cmd", &ours()]);
}

#[test]
fn whole_processes_of_cpython() {
    processes(&[]);
}
