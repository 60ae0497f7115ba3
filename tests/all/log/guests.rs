//! Text of handlers and clients in the log cannot be taken for text of the host.

use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::client::ask;
use crate::fixture::{DATAGRAM, FIXTURE, Fixture, Served};

/// Text of a handler that imitates a line of the host.
const FAKE: &str = r#"\" ERROR Exception occurred during processing of request from 1.2.3.4:5: \"x\" peer=\"1.2.3.4:5\" blame=\"host\" reason=\"trap\" \\"#;

fn fields() -> String {
    format!("(data (i32.const 300) \"{FAKE}\")")
}

/// Returns the length of [`FAKE`] in bytes, without the escapes of WebAssembly text.
fn fake_length() -> usize {
    FAKE.len() - FAKE.matches("\\\"").count() - 1
}

/// Returns the text outside of quotes. A quote ends a quoted text unless it is escaped.
fn unquoted(line: &str) -> String {
    let (mut text, mut inside, mut escaped) = (String::new(), false, false);
    for character in line.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => {
                inside = !inside;
                text.push('"');
            }
            _ if !inside => text.push(character),
            _ => {}
        }
    }
    assert!(!inside && !escaped, "{line}");
    text
}

/// Returns the line without its time.
fn without_time(line: &str) -> &str {
    line.split_once('Z').unwrap().1.trim_start()
}

#[test]
fn a_line_of_a_handler_is_quoted() {
    let handle =
        format!("(call $host_log (i32.const 3) (i32.const 300) (i32.const {}))", fake_length());
    let mut served = Fixture { handle: &handle, fields: &fields(), ..FIXTURE }.serve(&[]);
    ask(&served.server, b"x");
    let line = served.server.wait_for_log("1.2.3.4").unwrap();
    assert_eq!(unquoted(without_time(&line)), r#"ERROR guest: "" handler="" peer="""#, "{line}");
}

#[test]
fn an_error_of_a_handler_is_quoted() {
    let handle = format!("(return (call $error (i32.const 300) (i32.const {})))", fake_length());
    let mut served = Fixture { handle: &handle, fields: &fields(), ..FIXTURE }.serve(&[]);
    ask(&served.server, b"x");
    let line = served.server.wait_for_log("1.2.3.4").unwrap();
    let (host, port) = unquoted(without_time(&line))
        .split_once("127.0.0.1:")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_eq!(host, "ERROR Exception occurred during processing of request from ");
    let (port, rest) = port.split_once(": ").unwrap();
    assert!(port.parse::<u16>().is_ok(), "{line}");
    assert_eq!(rest, r#""" peer="" handler="" blame="" reason="""#, "{line}");
    assert!(line.ends_with(r#" blame="guest" reason="error""#), "{line}");
}

#[test]
fn the_name_of_a_function_that_traps_is_quoted() {
    let fields = format!("(func $named (@name \"{FAKE}\") unreachable)");
    let mut served = Fixture { handle: "(call $named)", fields: &fields, ..FIXTURE }.serve(&[]);
    ask(&served.server, b"x");
    let line = served.server.wait_for_log("1.2.3.4").unwrap();
    assert!(unquoted(&line).ends_with(r#": "" peer="" handler="" blame="" reason="""#), "{line}");
    assert!(line.ends_with(r#" blame="guest" reason="trap""#), "{line}");
}

#[test]
fn an_address_of_a_handler_is_quoted() {
    let name = r#"/x\" peer=\"1.2.3.4:5\" blame=\"host"#;
    let fields = format!("(data (i32.const 300) \"{name}\")");
    let length = name.replace('\\', "").len();
    let zeros = "(i32.const 0) ".repeat(8);
    let handle = format!(
        "(call $host_sendto (global.get $request) (i32.const 104) (i32.const 9)
           (i32.const 2) (i32.const 1) (i32.const 300) (i32.const {length}) {zeros} (i32.const 16))"
    );
    let directory = tempfile::tempdir().unwrap();
    let endpoint = format!("unixgram://{}", directory.path().join("server").display());
    let fixture = Fixture { handle: &handle, fields: &fields, ..DATAGRAM };
    let mut served = fixture.serve_at(&[&endpoint], &[]);
    let client = UnixDatagram::bind(directory.path().join("client")).unwrap();
    client.send_to(b"x", directory.path().join("server")).unwrap();
    let line = served.server.wait_for_log("denied").unwrap();
    assert_eq!(
        unquoted(without_time(&line)),
        r#"INFO denied call="" handler="" peer="""#,
        "{line}"
    );
    assert!(line.contains("1.2.3.4"), "{line}");
}

/// Serves a handler on a Unix socket to a client with this abstract name. Returns the line of
/// the log that contains `text`.
fn line_about_client(fixture: Fixture<'_>, name: &str, text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server");
    let mut served: Served = fixture.serve_at(&[&format!("unix://{}", path.display())], &[]);
    let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let unique = std::process::id();
    client.bind(&SockAddr::unix(format!("\0{unique}{name}")).unwrap()).unwrap();
    client.connect(&SockAddr::unix(&path).unwrap()).unwrap();
    (&client).write_all(b"x").unwrap();
    (&client).read_to_end(&mut Vec::new()).unwrap();
    served.server.wait_for_log(text).unwrap()
}

#[test]
fn the_name_of_a_client_is_quoted() {
    let fails = Fixture { handle: "(return (call $failed))", ..FIXTURE };
    for name in [r#"" blame="host" reason="x"#, r#": handle failed peer="1.2.3.4""#, "\\", "\\\""] {
        let line = line_about_client(fails, name, "Exception occurred");
        let expected = r#"ERROR Exception occurred during processing of request from "": "" peer="" handler="" blame="" reason="""#;
        assert_eq!(unquoted(without_time(&line)), expected, "{line}");
        assert!(line.ends_with(r#" blame="guest" reason="error""#), "{line}");
    }
}

#[test]
fn in_json_only_lines_of_handlers_have_the_target_guest() {
    let handle = format!(
        "(call $host_log (i32.const 3) (i32.const 300) (i32.const {0}))
         (return (call $error (i32.const 300) (i32.const {0})))",
        fake_length()
    );
    let fixture = Fixture { handle: &handle, fields: &fields(), ..FIXTURE };
    let mut served = fixture.serve(&["--log-format", "json"]);
    ask(&served.server, b"x");
    served.server.wait_for_log("\"reason\"").unwrap();
    served.server.stop().unwrap();
    let lines: Vec<Value> =
        served.server.log().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (guest, host): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line["target"] == "guest");
    let names = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(guest.len(), 1, "{guest:?}");
    assert_eq!(names(guest[0]), ["handler", "level", "message", "peer", "target", "timestamp"]);
    assert!(guest[0]["message"].as_str().unwrap().starts_with("\" ERROR Exception"), "{guest:?}");
    let failed = host.iter().find(|line| line["reason"] == "error").unwrap();
    let expected =
        ["blame", "handler", "level", "message", "peer", "reason", "target", "timestamp"];
    assert_eq!(names(failed), expected);
    assert_eq!(failed["blame"], "guest");
    assert!(unquoted(failed["message"].as_str().unwrap()).ends_with(": \"\""), "{failed}");
}
