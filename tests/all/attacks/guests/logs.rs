//! Handlers that try to fill the log, or to take over the terminal that shows it.

use std::io::Write;

use socketserver_tests::bystander::Bystander;

use super::{handle, hostile, logged, setup};
use crate::attacks::attack;
use crate::client::read_to_end;
use crate::fixture::{FIXTURE, Fixture, Served};

hostile! {
    logging_for_ever: handle(
        "(loop $again (call $host_log (i32.const 1) (i32.const 120) (i32.const 12)) (br $again))"
    ).ends("cpu-time");
    an_error_of_terminal_escapes: handle("(return (call $error (i32.const 120) (i32.const 12)))")
        .ends("error").saying(r"handle failed: \u{1b}[2Jred\nline");
    an_error_that_looks_like_a_report: setup("(return (call $error (i32.const 300) (i32.const 43)))")
        .fields(r#"(data (i32.const 300) "x\0aERROR Exception peer=\"me\" reason=\"host\"")"#)
        .ends("error").saying(r"setup failed: x\nERROR Exception");
    an_error_of_60_kb: handle(
        "(memory.fill (i32.const 2048) (i32.const 65) (i32.const 60000)) (return (call $error (i32.const 2048) (i32.const 60000)))"
    ).ends("error").saying("AAAA... (58976 bytes more)");
    logging_an_empty_line: handle(
        "(call $host_log (i32.const 1) (i32.const 0) (i32.const 0)) (call $sendall (i32.const 100) (i32.const 2))"
    ).answers(b"ok");
    an_empty_error: handle("(return (call $error (i32.const 0) (i32.const 0)))").ends("error").saying("handle failed: ");
}

/// Runs a handler beside a bystander, and calls `check` with the address of each client.
fn check_log(handle: &str, check: impl Fn(&mut Served, &str)) {
    let mut served = Fixture { handle, ..FIXTURE }.serve(&["--log-rate", "1000000"]);
    let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
    let mut peers = Vec::new();
    attack(&mut served.server, &bystander, |server, _| {
        let mut client = server.connect().unwrap();
        client.write_all(b"x").unwrap();
        read_to_end(&mut client);
        peers.push(client.local_addr().unwrap().to_string());
    });
    for peer in peers {
        check(&mut served, &peer);
    }
    let log = served.server.log();
    assert!(log.iter().all(|line| !line.contains('\x1b')), "{log:#?}");
}

#[test]
fn a_flood_of_lines_and_terminal_escapes() {
    let handle = "(local $left i32) (local.set $left (i32.const 10000))
        (loop $again
          (call $host_log (i32.const 1) (i32.const 120) (i32.const 12))
          (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))";
    check_log(handle, |served, peer| {
        let field = format!("peer=\"{peer}\"");
        let last = logged(&mut served.server, &format!("is dropped handler=\"fixture\" {field}"));
        assert!(last.contains("WARN"), "{last}");
        let log = served.server.log();
        let lines: Vec<_> =
            log.iter().filter(|line| line.contains("[2Jred") && line.contains(&field)).collect();
        // A short line counts as 64 bytes, and a request may log 64 KiB.
        assert_eq!(lines.len(), 1024);
        assert!(lines[0].contains(r"\u{1b}[2Jred\nline"), "{}", lines[0]);
    });
}

#[test]
fn a_line_of_60_kb() {
    let handle = "(memory.fill (i32.const 2048) (i32.const 65) (i32.const 60000))
        (call $host_log (i32.const 1) (i32.const 2048) (i32.const 60000))";
    check_log(handle, |served, peer| {
        let line = logged(&mut served.server, &format!("peer=\"{peer}\""));
        assert!(line.len() < 1500 && line.contains("(58976 bytes more)"), "{line}");
    });
}

#[test]
fn characters_that_hide_or_reverse_text() {
    // U+202E, U+200B, U+009B, U+2028.
    let handle = "(i64.store (i32.const 1024) (i64.const 0xc28be280aee280))
        (i32.store (i32.const 1024) (i32.const 0x20ae80e2))
        (i32.store (i32.const 1028) (i32.const 0x208b80e2))
        (i32.store (i32.const 1032) (i32.const 0xe2209bc2))
        (i32.store16 (i32.const 1036) (i32.const 0xa880))
        (call $host_log (i32.const 1) (i32.const 1024) (i32.const 14))";
    check_log(handle, |served, peer| {
        let line = logged(&mut served.server, &format!("peer=\"{peer}\""));
        assert!(line.contains(r"\u{202e} \u{200b} \u{9b} \u{2028}"), "{line}");
    });
}
