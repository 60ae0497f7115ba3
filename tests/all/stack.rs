//! `--stack`: the limit on the stack of a guest, and the stack that the host needs for it.

use std::process::Command;

use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::client::ask;
use crate::fixture::{FIXTURE, File, Fixture};

#[test]
fn the_option_sets_the_size_of_a_guest_s_stack() {
    // 10,000 frames, each with a return address, a frame pointer and a value, take more than
    // 64 KiB and less than 1 MiB.
    let fields = "(func $down (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (local.get 0)))";
    let handle = "(drop (call $down (i32.const 10000)))";
    let fixture = Fixture { handle, fields, ..FIXTURE };
    let mut small = fixture.serve(&["--stack", "64KiB"]);
    ask(&small.server, b"x");
    let line = small.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("reason=\"stack\"") && line.contains("blame=\"guest\""), "{line}");
    assert_eq!(ask(&small.server, b"-"), b"ok");
    let mut large = fixture.serve(&["--stack", "1MiB"]);
    ask(&large.server, b"x");
    assert_eq!(ask(&large.server, b"-"), b"ok");
    large.server.stop().unwrap();
    assert!(!large.server.log().iter().any(|line| line.contains("Exception")));

    let endless =
        Fixture { handle: "(call $on)", fields: "(func $on (call $on) (call $on))", ..FIXTURE };
    for mode in ["sync", "threading", "forking"] {
        let mut served = endless.serve(&["--stack", "1MiB", "--concurrency", mode]);
        ask(&served.server, b"x");
        let line = served.server.wait_for_log("Exception occurred").unwrap();
        assert!(line.contains("reason=\"stack\""), "{mode}: {line}");
    }
}

/// Returns a command that runs the binary with a limit on the stack of its main thread.
fn with_stack_limit(kib: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let program = build::host().unwrap();
    command.args(["-c", &format!("ulimit -s {kib} && exec \"$0\" \"$@\"")]).arg(program);
    command.env("XDG_CACHE_HOME", build::root().join("target/tests-cache"));
    command.args(arguments);
    command
}

#[test]
fn a_host_without_enough_stack_does_not_start() {
    // The start function would overflow the stack of the host in the preflight.
    let starts = Fixture { fields: "(func $on (call $on) (call $on)) (start $on)", ..FIXTURE };
    let starts = File::new("starts.wat", starts.text().as_bytes());
    let path = starts.path.to_str().unwrap();
    for mode in ["sync", "threading", "forking"] {
        let options = ["serve", path, "--stack", "1MiB", "--concurrency", mode];
        let output = with_stack_limit(2047, &options).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{mode}: {output:?}");
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "wasm-socketserver: the stack of this process may have 2047 KiB, and --stack 1024 KiB needs 2048 KiB: raise the limit with `ulimit -s`, or lower --stack\n"
        );
    }
    let output = with_stack_limit(512, &["inspect", path]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");

    // With enough stack, only the guest fails.
    let output = with_stack_limit(2048, &["inspect", path, "--stack", "1MiB"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("call stack exhausted"), "{said}");
}

#[test]
fn a_guest_that_uses_all_of_its_stack_leaves_the_host_enough() {
    // Each frame calls the host, so that the last call finds the guest's stack full.
    let endless = Fixture {
        handle: "(call $on)",
        fields: "(func $on (call $sendall (i32.const 100) (i32.const 1)) (call $on))",
        ..FIXTURE
    };
    let endless = File::new("endless.wat", endless.text().as_bytes());
    let path = endless.path.to_str().unwrap();
    for mode in ["sync", "threading", "forking"] {
        let options = ["--bind", "tcp://127.0.0.1:0", "--stack", "1MiB", "--concurrency", mode];
        let mut command = with_stack_limit(2048, &[&["serve", path], &options[..]].concat());
        let mut server = Server::start(&mut command, 1).unwrap();
        for _ in 0..2 {
            ask(&server, b"x");
            let line = server.wait_for_log("Exception occurred").unwrap();
            assert!(line.contains("reason=\"stack\""), "{mode}: {line}");
        }
        assert_eq!(ask(&server, b"-"), b"ok", "{mode}");
    }
}
