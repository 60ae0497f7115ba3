//! The end of forked processes: the limits of the handler end its request first, and the parent
//! kills a child that outlives them.

use std::fs;
use std::io::Write;
use std::thread;

use serde_json::json;
use socketserver_tests::process::{send_signal, wait_until};
use socketserver_tests::procfs::children;

use crate::client::{ask, in_flight, read_to_end};
use crate::counters::request_counters;
use crate::fixture::{FIXTURE, File, Fixture};
use crate::jail::is_available;
use crate::start::start_preflight;

/// A handler that waits for its client.
const WAITS: Fixture<'static> = Fixture { handle: "(call $recv (i32.const 1))", ..FIXTURE };
/// A handler that computes for ever.
const SPINS: Fixture<'static> = Fixture { handle: "(loop $again (br $again))", ..FIXTURE };

const FORKING: [&str; 2] = ["--concurrency", "forking"];

/// Stops a child, which stands for a child that an attacker controls. Checks that the parent
/// kills the child and frees its permit.
fn check_stopped_child_is_killed(options: &[&str]) {
    let limits = ["--max-children", "1", "--wall-time", "1s", "--log-format", "json"];
    let mut served = WAITS.serve(&[&FORKING[..], &limits, options].concat());
    let mut stream = served.server.connect().unwrap();
    stream.write_all(b"x").unwrap();
    let mut stopped = Vec::new();
    wait_until("there is a child", || {
        stopped = children(served.server.pid()).unwrap();
        !stopped.is_empty()
    });
    send_signal(stopped[0], "STOP").unwrap();
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["reason"], &line["blame"]), (&json!("lifetime"), &json!("host")), "{line}");
    let message = line["message"].as_str().unwrap();
    let begin = format!("process {} was still there after ", stopped[0]);
    assert!(message.contains(&begin) && message.ends_with("s, and was killed\""), "{message}");
    assert_eq!(read_to_end(&mut stream), b"");
    assert_eq!(ask(&served.server, b"-"), b"ok");
    wait_until("the children have ended", || children(served.server.pid()).unwrap().is_empty());
    let counted = request_counters(&mut served.server);
    assert_eq!(counted["requests"]["failed"], json!({ "lifetime": 1 }), "{options:?}");
    assert_eq!(counted["requests"]["in_flight"], 0, "{options:?}");
}

#[test]
fn a_child_that_outlives_its_wall_time_is_killed_and_its_permit_is_free() {
    let mut cases = vec![vec![], vec!["--jail", "off"], vec!["--dir", "/tmp::/tmp:ro"]];
    if is_available() {
        cases.push(vec!["--profile", "hostile"]);
    }
    if rustix::process::geteuid().is_root() {
        cases.push(vec!["--user", "60123:60124"]);
    }
    thread::scope(|scope| {
        for options in &cases {
            scope.spawn(|| check_stopped_child_is_killed(options));
        }
    });
}

#[test]
fn the_limits_of_a_handler_end_it_before_the_parent_kills_its_process() {
    let wall = ["--wall-time", "1s", "--idle-timeout", "1h", "--cpu-time", "1h"];
    let cpu = ["--cpu-time", "1s"];
    let mut profiles = vec![["--profile", "standard"]];
    if is_available() {
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
            let pid = served.server.pid();
            wait_until("the child has ended", || children(pid).unwrap().is_empty());
            let counted = request_counters(&mut served.server);
            assert_eq!(counted["requests"]["failed"], json!({ reason: 1 }), "{options:?}");
        }
    }
}

/// Returns the soft and the hard limit of a process on CPU time (`proc_pid_limits(5)`).
fn cpu_time_limits(pid: u32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max cpu time")).unwrap();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_child_has_a_limit_on_cpu_time_above_that_of_its_handler() {
    if !is_available() {
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
        let child = children(server.pid()).unwrap()[0];
        assert_eq!(cpu_time_limits(child), expected, "{options:?}");
        assert_eq!(cpu_time_limits(server.pid()), "unlimited unlimited", "{options:?}");
    }
    // A worker has no such limit, because it serves many requests.
    let server = crate::client::echo(&["--workers", "1", "--jail", "require"]);
    let _stream = in_flight(&server);
    assert_eq!(cpu_time_limits(children(server.pid()).unwrap()[0]), "unlimited unlimited");
}

#[test]
fn a_preflight_process_that_does_not_end_is_killed() {
    let spins =
        Fixture { fields: "(func $spin (loop $again (br $again))) (start $spin)", ..FIXTURE };
    let handler = File::new("spins.wat", spins.text().as_bytes());
    let limits = ["--cpu-time", "500ms", "--idle-timeout", "1ms"];
    let (server, preflight) = start_preflight(&handler.path, &FORKING, &limits);
    send_signal(preflight, "STOP").unwrap();
    let output = server.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("cannot run the preflight: its process was still there after "),
        "{said}"
    );
    assert!(said.trim_end().ends_with("s, and was killed") && output.stdout.is_empty(), "{said}");
}
