//! WASI: the interfaces that a handler may import, with nothing granted and with options that
//! grant something.

mod differential;
mod files;
mod guests;
mod hostile;
mod scripts;
mod sockets;
mod threads;

use std::collections::HashSet;
use std::io::Write;
use std::time::{Duration, Instant};

use socketserver_tests::process::Server;

use crate::client::{ask, read_to_end};
use crate::fixture::{FIXTURE, File, MODES, Served, host};

/// A handler that imports each of these interfaces, and calls what its client asks for.
pub const WASI: &str = include_str!("../fixtures/wasi.wat");

/// Serves [`WASI`].
pub fn serve(options: &[&str]) -> Served {
    serve_with_fields("", options)
}

/// Serves [`WASI`] with more fields in its module.
fn serve_with_fields(fields: &str, options: &[&str]) -> Served {
    let text = WASI.replace("{{fields}}", fields);
    Served::start(&text, &["tcp://127.0.0.1:0"], options)
}

/// Sends the byte `action` and a number, and returns the answer.
fn ask_with_number(server: &Server, action: u8, number: u64) -> Vec<u8> {
    ask(server, &[&[action][..], &number.to_le_bytes()].concat())
}

/// Sends `data`, and returns the line of the log that reports the failed request.
fn failure(served: &mut Served, data: &[u8]) -> String {
    let mut stream = served.server.connect().unwrap();
    stream.write_all(data).unwrap();
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert_eq!(read_to_end(&mut stream), b"");
    line
}

/// Returns the output of `inspect` for a handler.
fn inspect(text: &str, options: &[&str]) -> String {
    let handler = File::new("handler.wat", text.as_bytes());
    let said = host().arg("inspect").arg(&handler.path).args(options).output().unwrap();
    String::from_utf8(said.stdout).unwrap() + &String::from_utf8_lossy(&said.stderr)
}

#[test]
fn a_handler_sees_nothing_of_the_host_without_a_grant() {
    let served = serve(&[]);
    // No variables, no arguments, no directories, no input, no terminal.
    assert_eq!(ask(&served.server, b"e"), b"k");
    assert_eq!(ask(&served.server, b"p"), b"k");
    assert_eq!(ask(&served.server, b"i"), b"E\x01");
    assert_eq!(ask(&served.server, b"T"), b"k");
}

#[test]
fn a_handler_sees_only_the_granted_environment() {
    let handler = File::new("wasi.wat", WASI.replace("{{fields}}", "").as_bytes());
    let mut command = host();
    command.env("HERE", "taken").env("SECRET", "kept").arg("serve").arg(&handler.path);
    command.args(["--bind", "tcp://127.0.0.1:0"]);
    command.args(["--env", "B=2", "--env", "A=", "--env", "HERE", "--env", "B=last=counts"]);
    let server = Server::start(&mut command, 1).unwrap();
    assert_eq!(ask(&server, b"e"), b"A=\nB=last=counts\nHERE=taken\nk");
}

#[test]
fn mistakes_in_env_and_dir_are_errors() {
    for (option, value, why) in [
        ("--env", "NOT_SET", "the server's environment has no such variable: write NOT_SET=VALUE"),
        ("--env", "=b", "write NAME=VALUE"),
        ("--dir", "/tmp", "write HOST::GUEST"),
        ("--dir", "/tmp::/tmp:rw", "the only one is `:ro`"),
    ] {
        let said = host().args(["serve", option, value]).output().unwrap();
        assert_eq!(said.status.code(), Some(2));
        let said = String::from_utf8_lossy(&said.stderr);
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn output_is_logged_by_line_escaped_and_tagged() {
    for mode in [[].as_slice(), &["--concurrency", "forking"]] {
        let mut served = serve(mode);
        let mut stream = served.server.connect().unwrap();
        let peer = stream.local_addr().unwrap();
        stream.write_all(b"ofirst\n\x1b[2Jsecond\nunfinished").unwrap();
        let first = served.server.wait_for_log("first").unwrap();
        let end = format!("INFO guest: \"first\" handler=\"fixture\" peer=\"{peer}\"");
        assert!(first.ends_with(&end), "{first}");
        let second = served.server.wait_for_log("second").unwrap();
        assert!(second.contains("INFO guest: \"\\u{1b}[2Jsecond\" handler"), "{second}");
        // The end of the request completes an unfinished line.
        served.server.wait_for_log("INFO guest: \"unfinished\" handler").unwrap();
        assert_eq!(read_to_end(&mut stream), b"k");
        assert_eq!(ask(&served.server, b"Oan error"), b"k");
        let line = served.server.wait_for_log("an error").unwrap();
        assert!(
            line.contains("WARN guest: \"an error\" handler=\"fixture\" peer=\"127.0.0.1"),
            "{line}"
        );
    }
}

#[test]
fn unfinished_output_is_logged_before_the_failure() {
    // The handler traps for an unknown byte.
    let fields = "(func $print (call $blocking_write (call $get_stderr) (i32.const 112) (i32.const 7) (i32.const 1024)))
        (start $print)";
    let mut served = serve_with_fields(fields, &[]);
    served.server.wait_for_log("WARN guest: \"written\" handler=\"fixture\"").unwrap();
    failure(&mut served, b"?");
    let log = served.server.log();
    let index = |text| log.iter().rposition(|line| line.contains(text)).unwrap();
    assert!(index("WARN guest: \"written\"") < index("Exception occurred"), "{log:#?}");
}

#[test]
fn the_count_and_the_length_of_printed_lines_are_bounded() {
    let mut served = serve(&["--log-rate", "100000"]);
    assert_eq!(ask(&served.server, &[b"o".to_vec(), vec![b'\n'; 4096]].concat()), b"k");
    let line = served.server.wait_for_log("had more than 65536 bytes to log").unwrap();
    assert!(line.contains("reason=\"log-bytes\""), "{line}");
    let mut long = vec![b'o'];
    long.extend([b'x'; 4096]);
    assert_eq!(ask(&served.server, &long), b"k");
    let line = served.server.wait_for_log("xxx").unwrap();
    let expected = "x".repeat(1024) + "... (3072 bytes more)";
    assert!(line.contains(&format!(" \"{expected}\" ")), "{line}");
    // The limit is one for each request. The first request has logged no more lines.
    served.server.stop().unwrap();
    let empty =
        served.server.log().iter().filter(|line| line.contains("INFO guest: \"\" handler")).count();
    // An empty line counts as 64 bytes.
    assert_eq!(empty, 1024);
}

#[test]
fn writing_more_than_a_stream_accepts_fails() {
    let mut served = serve(&[]);
    assert_eq!(ask_with_number(&served.server, b'b', 64 << 10), b"k");
    assert_eq!(ask_with_number(&served.server, b'B', 4096), b"k");
    for (action, most) in [(b'b', 64 << 10), (b'B', 4096)] {
        let too_many: u64 = most + 1;
        let data = [&[action][..], &too_many.to_le_bytes()].concat();
        let line = failure(&mut served, &data);
        let why = format!("it wrote {too_many} bytes at once to a stream that takes {most}");
        assert!(line.contains(&why) && line.contains("reason=\"call\""), "{line}");
    }
}

/// Children are copies of a parent that has made the generators of an instance already.
#[test]
fn random_numbers_differ_between_requests_in_each_mode() {
    for mode in [&MODES[..], &[&["--concurrency", "forking", "--jail", "try"]]].concat() {
        let served = serve(mode);
        for (action, length) in [(b'R', 32), (b'I', 32), (b'E', 16)] {
            let drawn: HashSet<_> =
                (0..8).map(|_| ask_with_number(&served.server, action, 32)).collect();
            assert!(drawn.iter().all(|drawn| drawn.len() == length), "{mode:?}: {drawn:?}");
            assert_eq!(drawn.len(), 8, "{mode:?} {}: {drawn:?}", char::from(action));
        }
    }
}

#[test]
fn the_number_of_random_bytes_is_bounded() {
    let mut served = serve(&[]);
    assert_eq!(ask_with_number(&served.server, b'R', 256 << 10).len(), 256 << 10);
    for too_many in [(256 << 10) + 1, u64::MAX] {
        let line = failure(&mut served, &[&b"R"[..], &too_many.to_le_bytes()].concat());
        let why = format!("requested len {too_many} exceeds limit 262144");
        assert!(line.contains(&why) && line.contains("blame=\"guest\""), "{line}");
    }
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_handler_that_sleeps_wakes_up() {
    for mode in ["sync", "threading", "forking"] {
        let served = serve(&["--concurrency", mode, "--cpu-time", "1s"]);
        let begun = Instant::now();
        assert_eq!(ask_with_number(&served.server, b'z', SECOND / 20), b"k", "{mode}");
        // Of two timers that the handler polls, only the second fires.
        assert_eq!(ask_with_number(&served.server, b'y', SECOND / 20), [1, 0, 0, 0], "{mode}");
        assert!(begun.elapsed().as_millis() >= 100);
        assert_eq!(ask_with_number(&served.server, b'z', 0), b"k");
    }
}

#[test]
fn a_handler_that_sleeps_past_the_idle_timeout_is_ended_and_blamed() {
    for mode in ["threading", "forking"] {
        for (action, nanoseconds) in
            [(b'z', u64::MAX), (b'z', 3600 * SECOND), (b'Z', SECOND / 100), (b'y', u64::MAX)]
        {
            let limits = ["--idle-timeout", "200ms", "--concurrency", mode];
            let mut served = serve(&limits);
            let line = failure(&mut served, &[&[action][..], &nanoseconds.to_le_bytes()].concat());
            let why = "it slept until no byte had moved for 200ms, the idle timeout";
            assert!(line.contains(why), "{mode}: {line}");
            assert!(line.contains("blame=\"guest\" reason=\"sleep\""), "{mode}: {line}");
            assert_eq!(ask(&served.server, b"p"), b"k");
        }
    }
}

#[test]
fn wall_time_ends_a_handler_that_sleeps() {
    for mode in ["threading", "forking"] {
        let mut served = serve(&["--wall-time", "200ms", "--concurrency", mode]);
        let line = failure(&mut served, &[&b"z"[..], &u64::MAX.to_le_bytes()].concat());
        assert!(line.contains("blame=\"policy\" reason=\"wall-time\""), "{mode}: {line}");
    }
}

#[test]
fn a_handler_whose_start_function_sleeps_for_long_is_not_served() {
    let fields =
        "(func $sleep (call $block (call $subscribe_duration (i64.const -1)))) (start $sleep)";
    let text = WASI.replace("{{fields}}", fields);
    let said = inspect(&text, &[]);
    assert!(said.contains("serve     no: it cannot be instantiated"), "{said}");
    assert!(said.contains("it slept until no byte had moved for 60s"), "{said}");
    // A short sleep is allowed.
    let said = inspect(&text.replace("(i64.const -1)", "(i64.const 1000)"), &[]);
    assert!(said.contains("serve     yes"), "{said}");
}

#[test]
fn inspect_makes_fewer_instances_if_each_takes_long() {
    let fields = "(func $sleep (call $block (call $subscribe_duration (i64.const 2000000000)))) (start $sleep)";
    let begun = Instant::now();
    let said = inspect(&WASI.replace("{{fields}}", fields), &[]);
    assert!(said.contains("serve     yes"), "{said}");
    // A hundred instances would sleep for 200 s.
    assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
}

/// The wall time of a request includes the time in which its instance is made.
#[test]
fn wall_time_ends_a_start_function_that_sleeps() {
    // One short sleep passes the preflight.
    let fields = "(func $sleep (call $block (call $subscribe_duration (i64.const 300000000)))) (start $sleep)";
    let mut served = serve_with_fields(fields, &["--idle-timeout", "1h", "--wall-time", "100ms"]);
    let line = failure(&mut served, b"p");
    assert!(line.contains("instantiation was ended"), "{line}");
    assert!(line.contains("reason=\"wall-time\""), "{line}");
}

#[test]
fn the_number_of_polled_handles_is_bounded() {
    let mut served = serve(&[]);
    assert_eq!(ask_with_number(&served.server, b'n', 1), [1, 0, 0, 0]);
    assert_eq!(ask_with_number(&served.server, b'n', 128), [128, 0, 0, 0]);
    for (count, why) in [
        (0, "it polled an empty list"),
        (257, "it polled 257 things at once, and 256 are the most"),
        (700_000, "it polled 700000 things at once"),
        (u64::from(u32::MAX), "list pointer/length out of bounds"),
    ] {
        let line = failure(&mut served, &[&b"n"[..], &count.to_le_bytes()].concat());
        assert!(line.contains(why) && line.contains("reason=\"call\""), "{line}");
    }
}

#[test]
fn the_handles_of_wasi_are_bounded() {
    let mut served = serve(&[]);
    for action in [b"G", b"P"] {
        let line = failure(&mut served, action);
        assert!(line.contains("blame=\"guest\" reason=\"handles\""), "{line}");
    }
}

#[test]
fn using_a_dropped_stream_fails() {
    let mut served = serve(&[]);
    let line = failure(&mut served, b"g");
    assert!(line.contains("unknown handle index") && line.contains("\"guest\""), "{line}");
    assert_eq!(ask(&served.server, b"p"), b"k");
}

#[test]
fn other_parts_of_wasi_are_refused_by_name() {
    for name in [
        "wasi:sockets/tcp@0.3.0",
        "wasi:http/types@0.2.0",
        "wasi:cli/run@0.2.0",
        "wasi:nn/graph@0.2.0",
    ] {
        let import = format!("(component $handler-component (import \"{name}\" (instance))");
        let text = FIXTURE.text().replace("(component $handler-component", &import);
        let handler = File::new("handler.wat", text.as_bytes());
        let said = host().arg("serve").arg(&handler.path).output().unwrap();
        assert_eq!(said.status.code(), Some(1));
        let said = String::from_utf8_lossy(&said.stderr);
        let why = format!("imports `{name}`, which the host does not provide: no option adds it");
        assert!(said.contains(&why), "{said}");
        let said = inspect(&text, &[]);
        assert!(said.contains(&format!("{name}  NOT PROVIDED  (no option adds it)")), "{said}");
    }
}

#[test]
fn inspect_names_the_options_that_grant_more() {
    let text = WASI.replace("{{fields}}", "");
    let said = inspect(&text, &[]);
    for line in [
        "wasi:cli/environment@0.2.6  (empty: --env NAME=VALUE grants more)",
        "wasi:filesystem/preopens@0.2.6  (empty: --dir HOST::GUEST[:ro] grants more)",
        "wasi:random/random@0.2.6\n",
        "serve     yes",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let said = inspect(&text, &["--env", "A=b", "--env", "C=d", "--dir", "/tmp::/tmp:ro"]);
    assert!(said.contains("wasi:cli/environment@0.2.6  (2 granted)"), "{said}");
    assert!(said.contains("wasi:filesystem/preopens@0.2.6  (1 granted)"), "{said}");
    let said: serde_json::Value = serde_json::from_str(&inspect(&text, &["--json"])).unwrap();
    let imports = said["imports"].as_array().unwrap();
    let preopens = imports
        .iter()
        .find(|import| import["name"].as_str().unwrap().starts_with("wasi:filesystem/preopens"));
    assert_eq!(preopens.unwrap()["provided"], true);
    assert_eq!(preopens.unwrap()["option"], "--dir HOST::GUEST[:ro]");
}
