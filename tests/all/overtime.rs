//! Forked processes that their handler's limits do not end any more, and those that they do.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use serde_json::json;
use socketserver_tests::process::PATIENCE;

use crate::attacks::wait_until;
use crate::client::{ask, in_flight, read_to_end};
use crate::counters::asked;
use crate::fixture::{FIXTURE, File, Fixture, serve};
use crate::jail::can_be_had;
use crate::processes::{children, kill};
use crate::start::forked_by;

/// Waits for its client.
const WAITS: Fixture<'static> = Fixture { handle: "(call $recv (i32.const 1))", ..FIXTURE };
const SPINS: Fixture<'static> = Fixture { handle: "(loop $again (br $again))", ..FIXTURE };

const FORKING: [&str; 2] = ["--concurrency", "forking"];

/// A process that does nothing any more stands for one that was taken over, and waits.
fn a_held_place_is_free_again(options: &[&str]) {
    let limits = ["--max-children", "1", "--wall-time", "1s", "--log-format", "json"];
    let mut served = WAITS.serve(&[&FORKING[..], &limits, options].concat());
    let mut stream = served.server.connect().unwrap();
    stream.write_all(b"x").unwrap();
    let mut held = Vec::new();
    wait_until("there is a child", || {
        held = children(served.server.pid());
        !held.is_empty()
    });
    kill(held[0], "STOP");
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["reason"], &line["blame"]), (&json!("lifetime"), &json!("host")), "{line}");
    let message = line["message"].as_str().unwrap();
    let begin = format!("process {} was still there after ", held[0]);
    assert!(message.contains(&begin) && message.ends_with("s, and was killed\""), "{message}");
    assert_eq!(read_to_end(&mut stream), b"");
    assert_eq!(ask(&served.server, b"-"), b"ok");
    wait_until("the children are gone", || children(served.server.pid()).is_empty());
    let counted = asked(&mut served.server);
    assert_eq!(counted["requests"]["failed"], json!({ "lifetime": 1 }), "{options:?}");
    assert_eq!(counted["requests"]["in_flight"], 0, "{options:?}");
}

#[test]
fn a_child_that_outlives_its_wall_time_is_killed_and_its_place_is_free() {
    let mut places = vec![vec![], vec!["--jail", "off"], vec!["--dir", "/tmp::/tmp:ro"]];
    if can_be_had() {
        places.push(vec!["--profile", "hostile"]);
    }
    if rustix::process::geteuid().is_root() {
        places.push(vec!["--user", "60123:60124"]);
    }
    thread::scope(|scope| {
        for options in &places {
            scope.spawn(|| a_held_place_is_free_again(options));
        }
    });
}

#[test]
fn a_handler_is_ended_by_its_own_limits_first() {
    let wall = ["--wall-time", "1s", "--idle-timeout", "1h", "--cpu-time", "1h"];
    let cpu = ["--cpu-time", "1s"];
    let mut profiles = vec![["--profile", "standard"]];
    if can_be_had() {
        profiles.push(["--profile", "hostile"]);
    }
    for profile in profiles {
        for (fixture, limits, reason) in [
            (SPINS, &cpu[..], "cpu-time"),
            (SPINS, &wall, "wall-time"),
            (WAITS, &wall, "wall-time"),
        ] {
            let json = ["--log-format", "json"];
            let options = [&FORKING[..], &profile, limits, &json].concat();
            let mut served = fixture.serve(&options);
            let mut stream = served.server.connect().unwrap();
            stream.write_all(b"x").unwrap();
            let line = served.server.wait_for_log("Exception occurred").unwrap();
            assert!(line.contains(&format!("\"reason\":\"{reason}\"")), "{options:?}: {line}");
            assert_eq!(read_to_end(&mut stream), b"", "{options:?}");
            wait_until("the child is gone", || children(served.server.pid()).is_empty());
            let counted = asked(&mut served.server);
            assert_eq!(counted["requests"]["failed"], json!({ reason: 1 }), "{options:?}");
        }
    }
}

/// How much CPU time the kernel lets a process have: `proc_pid_limits(5)`.
fn cpu_time(pid: u32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max cpu time")).unwrap();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_child_has_a_limit_of_cpu_time_that_is_later_than_its_handler_s() {
    if !can_be_had() {
        return;
    }
    for (options, expected) in [
        (&["--cpu-time", "1ms"][..], "7 8"),
        (&["--cpu-time", "2h"], "7206 7207"),
        (&["--memory", "4GiB"], "36 37"),
        (&["--profile", "standard"], "16 17"),
        (&["--profile", "hostile"], "7 8"),
        (&["--profile", "hostile", "--dir", "/tmp::/tmp:ro"], "7 8"),
        (&["--jail", "off"], "unlimited unlimited"),
    ] {
        let server = crate::client::echo(&[&FORKING[..], options].concat());
        let _stream = in_flight(&server);
        let child = children(server.pid())[0];
        assert_eq!(cpu_time(child), expected, "{options:?}");
        assert_eq!(cpu_time(server.pid()), "unlimited unlimited", "{options:?}");
    }
    // A worker serves for as long as it lives.
    let server = crate::client::echo(&["--workers", "1", "--jail", "require"]);
    let _stream = in_flight(&server);
    assert_eq!(cpu_time(children(server.pid())[0]), "unlimited unlimited");
}

#[test]
fn a_process_that_tries_a_handler_is_killed_if_it_holds_on() {
    let begins =
        Fixture { fields: "(func $spin (loop $again (br $again))) (start $spin)", ..FIXTURE };
    let handler = File::new("begins.wat", begins.text().as_bytes());
    let mut server = serve()
        .arg(&handler.path)
        .args(FORKING)
        .args(["--cpu-time", "500ms", "--idle-timeout", "1ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let child = loop {
        if let Some(child) = forked_by(server.id()) {
            break child;
        }
        if begun.elapsed() > PATIENCE || server.try_wait().unwrap().is_some() {
            let _ = server.kill();
            panic!("nothing was forked: {:?}", server.wait_with_output());
        }
        thread::sleep(std::time::Duration::from_millis(1));
    };
    kill(child.parse().unwrap(), "STOP");
    let output = server.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot try it: its process was still there after "), "{said}");
    assert!(said.trim_end().ends_with("s, and was killed") && output.stdout.is_empty(), "{said}");
}
