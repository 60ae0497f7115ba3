//! Handlers that run for ever.

use std::io::Write;

use super::{finish, handle, hostile, realloc, setup, when_asked};
use crate::client::read_to_end;
use crate::fixture::{FIXTURE, Fixture};

/// An endless loop without a call.
const ENDLESS: &str = "(loop $again (br $again))";

hostile! {
    an_endless_loop_in_setup: setup(ENDLESS).ends("cpu-time").saying("setup was ended: it used up its CPU time of 50ms");
    an_endless_loop_in_handle: handle(ENDLESS).ends("cpu-time").saying("handle was ended");
    an_endless_loop_in_finish: finish(ENDLESS).ends("cpu-time").saying("finish was ended");
    an_endless_loop_in_realloc: realloc(when_asked!("(loop $again (br $again))")).ends("cpu-time").saying("handle was ended");
    an_endless_loop_in_post_return: handle("").post_return(ENDLESS).ends("cpu-time").saying("handle was ended");
    an_endless_loop_of_host_calls: handle(
        "(loop $again
            (call $host_settimeout (global.get $request) (i32.const 0) (f64.const 0) (i32.const 32))
            (br $again))"
    ).ends("cpu-time");
    polling_without_a_pause: handle(
        "(call $host_settimeout (global.get $request) (i32.const 1) (f64.const 0) (i32.const 32))
        (loop $again (call $recv (i32.const 1)) (br_if $again (i32.load8_u (i32.const 16))))"
    ).ends("cpu-time");
    sending_empty_data_for_ever: handle(
        "(loop $again (call $sendall (i32.const 100) (i32.const 0)) (br $again))"
    ).ends("cpu-time");
    receiving_zero_bytes_for_ever: handle(
        "(loop $again (call $recv (i32.const 0)) (br $again))"
    ).ends("cpu-time");
    setting_options_for_ever: handle(
        "(loop $again
            (call $host_setsockopt (global.get $request) (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32))
            (br $again))"
    ).ends("cpu-time");
    // Each of these instructions writes much memory and cannot be interrupted.
    filling_memory_for_ever: handle(
        "(drop (memory.grow (i32.const 16)))
        (loop $again (memory.fill (i32.const 65536) (i32.const 7) (i32.const 1048576)) (br $again))"
    ).ends("cpu-time");
    copying_memory_for_ever: handle(
        "(drop (memory.grow (i32.const 32)))
        (loop $again (memory.copy (i32.const 65536) (i32.const 1114112) (i32.const 1048576)) (br $again))"
    ).ends("cpu-time");
    filling_a_table_for_ever: handle(
        "(loop $again (table.fill (i32.const 0) (ref.null func) (i32.const 90000)) (br $again))"
    ).fields("(table 90000 funcref)").ends("cpu-time");
    growing_memory_that_is_refused_for_ever: handle(
        "(loop $again (drop (memory.grow (i32.const 65000))) (br $again))"
    ).ends("cpu-time");
    computing_past_the_wall_time: handle(ENDLESS).cpu_time("1h").options(&["--wall-time", "700ms"]).ends_for("wall-time", "policy");
    calling_the_host_past_the_wall_time: handle(
        "(loop $again (call $sendall (i32.const 100) (i32.const 0)) (br $again))"
    ).cpu_time("1h").options(&["--wall-time", "700ms"]).clients(1).ends_for("wall-time", "policy");
}

/// A handler beside the endless ones, which waits longer than its CPU time.
#[test]
fn waiting_is_not_charged_as_cpu_time() {
    let handle = "(call $recv (i32.const 1)) (call $sendall (i32.const 1024) (i32.const 1))";
    let served = Fixture { handle, ..FIXTURE }.serve(&["--cpu-time", "10ms"]);
    let mut client = served.server.connect().unwrap();
    client.write_all(b"x").unwrap();
    // Meanwhile requests of another server use up more CPU time than that.
    super::handle(ENDLESS).ends("cpu-time").clients(1).run(&[]);
    client.write_all(b"y").unwrap();
    assert_eq!(read_to_end(&mut client), b"y");
}
