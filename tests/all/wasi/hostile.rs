//! Handlers that would have the host work for them without end.

use super::{WASI, ended};
use crate::fixture::Served;

/// A path of 4 MB that has to be read before it is refused.
const LONG_PATH: &str = "
    (global.set $second (i32.const 131072))
    (loop $fill
      (i64.store (global.get $second) (i64.const 0xa9c3a9c3a9c3a9c3))
      (global.set $second (i32.add (global.get $second) (i32.const 8)))
      (br_if $fill (i32.lt_u (global.get $second) (i32.const 4131072))))
    (global.set $second (call $directory))";

/// Nothing asks how long a guest has run but loops and functions as they begin.
const LOOK: &str = "(call $stat_at (global.get $second) (i32.const 1) (i32.const 131072) (i32.const 4000000) (i32.const 1024))\n";

/// Serves one that does this when it is asked.
fn serve(act: &str, options: &[&str]) -> Served {
    let text = WASI.replace("(call $act)", act).replace("{{fields}}", "");
    Served::start(&text, &["tcp://127.0.0.1:0"], options)
}

#[test]
fn what_the_host_does_for_a_guest_is_its_cpu_time() {
    let act = LONG_PATH.to_owned() + &LOOK.repeat(2000);
    for mode in [&["--concurrency", "threading"], &["--concurrency", "forking"]] {
        let mut served =
            serve(&act, &[&["--dir", "/::/", "--cpu-time", "100ms"], &mode[..]].concat());
        let line = ended(&mut served, b"x");
        assert!(line.contains("blame=\"guest\" reason=\"cpu-time\""), "{mode:?} {line}");
    }
}
