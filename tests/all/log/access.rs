//! The access log: a line for each request.

use std::io::Write;

use serde_json::Value;
use socketserver_tests::process::send_signal;
use socketserver_tests::procfs::children;

use crate::client::{ask, expect};
use crate::fixture::{FIXTURE, Fixture, MODES, Served};

/// A handler that grows its memory by 4 MiB and fails.
const HANDLER: Fixture<'static> =
    Fixture { handle: "(drop (memory.grow (i32.const 64))) (return (call $failed))", ..FIXTURE };

/// Ends the server, and returns the lines of its access log.
fn lines(served: &mut Served) -> Vec<Value> {
    served.server.stop().unwrap();
    let lines = served.server.log().iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["target"] == "access").collect()
}

#[test]
fn each_request_has_a_line_with_its_duration_and_what_it_used() {
    for mode in MODES {
        let options = [&["--access-log", "all", "--log-format", "json"], mode].concat();
        let mut served = HANDLER.serve(&options);
        assert_eq!(ask(&served.server, b"-"), b"ok");
        assert_eq!(ask(&served.server, b"xx"), b"");
        let lines = lines(&mut served);
        let [done, failed] = &lines[..] else { panic!("{mode:?}: {lines:?}") };
        assert_eq!((&done["blame"], &done["reason"]), (&"none".into(), &"ok".into()));
        assert_eq!((&failed["blame"], &failed["reason"]), (&"guest".into(), &"error".into()));
        assert_eq!((&done["received"], &done["sent"]), (&1.into(), &2.into()), "{mode:?}");
        assert_eq!((&done["level"], &done["handler"]), (&"INFO".into(), &"fixture".into()));
        let number = |line: &Value, name: &str| line[name].as_u64().unwrap();
        for line in &lines {
            assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
            assert!(number(line, "cpu_us") <= number(line, "duration_us"), "{mode:?}: {line}");
        }
        let grown = number(failed, "memory") - number(done, "memory");
        assert_eq!(grown, 4 << 20, "{mode:?}");
    }
}

#[test]
fn only_failed_requests_have_a_line_or_none_has() {
    for (option, count) in [("failed", 1), ("off", 0)] {
        let mut served = HANDLER.serve(&["--access-log", option, "--log-format", "json"]);
        assert_eq!(ask(&served.server, b"-"), b"ok");
        assert_eq!(ask(&served.server, b"xx"), b"");
        let lines = lines(&mut served);
        assert_eq!(lines.len(), count, "{lines:?}");
        assert!(lines.iter().all(|line| line["reason"] == "error"));
    }
}

#[test]
fn a_request_whose_process_was_killed_has_a_line_without_numbers() {
    let waits = Fixture {
        handle: "(call $sendall (i32.const 100) (i32.const 2)) (call $recv (i32.const 1))",
        ..FIXTURE
    };
    let options = ["--access-log", "all", "--log-format", "json", "--concurrency", "forking"];
    let mut served = waits.serve(&options);
    let mut client = served.server.connect().unwrap();
    client.write_all(b"x").unwrap();
    expect(&mut client, b"ok");
    send_signal(children(served.server.pid()).unwrap()[0], "KILL").unwrap();
    served.server.wait_for_log("\"access\"").unwrap();
    let lines = lines(&mut served);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(line["reason"], "child");
    assert!(line.get("cpu_us").is_none(), "{line}");
}
