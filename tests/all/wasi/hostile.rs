//! Handlers that try to have the host work for them without end.

use std::io::Write;
use std::process::Command;

use socketserver_tests::process::{Server, wait_until};
use socketserver_tests::usage::Usage;

use super::{WASI, failure};
use crate::client::{ask, expect, read_to_end};
use crate::fixture::{File, Served, host};

/// Code that makes a path of 4 MB, which the host reads before it refuses it.
const LONG_PATH: &str = "
    (global.set $second (i32.const 131072))
    (loop $fill
      (i64.store (global.get $second) (i64.const 0xa9c3a9c3a9c3a9c3))
      (global.set $second (i32.add (global.get $second) (i32.const 8)))
      (br_if $fill (i32.lt_u (global.get $second) (i32.const 4131072))))
    (global.set $second (call $directory))";

/// Code that passes this path to the host. It has no loop and no call of a guest function,
/// where the engine would check the CPU time.
const STAT: &str = "(call $stat_at (global.get $second) (i32.const 1) (i32.const 131072) (i32.const 4000000) (i32.const 1024))\n";

/// Serves a handler that runs `act`.
fn serve(act: &str, options: &[&str]) -> Served {
    let text = WASI.replace("(call $act)", act).replace("{{fields}}", "");
    Served::start(&text, &["tcp://127.0.0.1:0"], options)
}

#[test]
fn work_of_the_host_for_a_guest_counts_as_cpu_time() {
    let act = LONG_PATH.to_owned() + &STAT.repeat(2000);
    for mode in [&["--concurrency", "threading"], &["--concurrency", "forking"]] {
        let mut served =
            serve(&act, &[&["--dir", "/::/", "--cpu-time", "100ms"], &mode[..]].concat());
        let line = failure(&mut served, b"x");
        assert!(line.contains("blame=\"guest\" reason=\"cpu-time\""), "{mode:?} {line}");
    }
}

/// Returns code that repeats `action` until the host refuses it, sends the error, and keeps the
/// handles until the client sends more. For `p` the code sends the names of the directories,
/// for `w` it sends `k` and waits.
fn keep(action: &str) -> String {
    let wait = "(call $recv (global.get $request) (i32.const 1) (i32.const 16))";
    format!(
        "(if (call $is (i32.const 112)) (then (call $names)) (else
        (if (call $is (i32.const 119)) (then (call $ok) {wait}) (else
          (global.set $second (call $directory))
          (loop $again {action} (br_if $again (i32.eqz (call $failed))))
          (call $tell (i32.const 4))
          {wait}))))"
    )
}

/// Code that opens a file.
const OPEN_FILE: &str = "
    (call $open_at (global.get $second) (i32.const 1) (global.get $text) (global.get $length)
      (i32.const 0) (i32.const 1) (i32.const 1024))";

/// Code that begins to list a directory.
const LIST: &str = "(call $read_directory (global.get $second) (i32.const 1024))";

#[test]
fn files_that_are_kept_open_leave_descriptors_for_others() {
    check_descriptors_are_left(OPEN_FILE);
}

#[test]
fn directories_that_are_being_listed_leave_descriptors_for_others() {
    check_descriptors_are_left(LIST);
}

/// Checks that the server accepts clients while handlers hold as many files as they may: 75 of
/// its 200 descriptors.
fn check_descriptors_are_left(action: &str) {
    const REFUSED: &[u8] = b"E\x16";
    let text = WASI.replace("(call $act)", &keep(action)).replace("{{fields}}", "");
    let (handler, host) = (File::new("fixture.wat", text.as_bytes()), host());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 200; exec \"$0\" \"$@\""]).arg(host.get_program());
    command.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.arg("serve").arg(&handler.path).args(["--bind", "tcp://127.0.0.1:0"]);
    let directory = handler.path.parent().unwrap().display();
    command.args(["--dir", &format!("{directory}::/data:ro")]);
    let mut server = Server::start(&mut command, 1).unwrap();
    assert_eq!(ask(&server, b"p"), b"/data\nk");
    let before = Usage::of_process(server.pid()).unwrap().descriptors;
    for _ in 0..2 {
        let mut keepers: Vec<_> = (0..5).map(|_| server.connect().unwrap()).collect();
        for keeper in &mut keepers {
            keeper.write_all(b"Ffixture.wat").unwrap();
            expect(keeper, REFUSED);
        }
        assert_eq!(ask(&server, b"p"), b"/data\nk");
        let now = Usage::of_process(server.pid()).unwrap().descriptors;
        assert!(now <= before + keepers.len() + 75, "{now} descriptors, before {before}");
        let mut others: Vec<_> = (0..50).map(|_| server.connect().unwrap()).collect();
        for other in &mut others {
            other.write_all(b"w").unwrap();
            expect(other, b"k");
        }
        for other in &mut others {
            other.write_all(b"!").unwrap();
            assert_eq!(read_to_end(other), b"");
        }
        for keeper in &mut keepers {
            keeper.write_all(b"!").unwrap();
            assert_eq!(read_to_end(keeper), b"");
        }
        wait_until("the server has closed the files", || {
            Usage::of_process(server.pid()).unwrap().descriptors <= before
        });
    }
    assert!(server.log().is_empty(), "{:#?}", server.log());
}
