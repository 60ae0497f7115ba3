//! Handlers that use handles which they were never given, or too many handles.

use super::{finish, handle, hostile};

hostile! {
    a_handle_that_was_never_given: handle("(call $host_close (i32.const 7))").ends("call");
    the_handle_0: handle("(call $host_close (i32.const 0))").ends("call");
    the_handle_minus_1: handle("(call $host_close (i32.const -1))").ends("call");
    the_handle_2_to_the_31: handle("(call $host_close (i32.const 0x80000000))").ends("call");
    the_handle_2_to_the_28: handle("(call $host_close (i32.const 0x10000000))").ends("call");
    receiving_on_a_handle_that_was_never_given: handle("(call $host_recv (i32.const 2) (i32.const 1) (i32.const 16))").ends("call");
    dropping_a_handle_that_was_never_given: handle("(call $host_drop (i32.const 7))").ends("call");
    dropping_a_handle_twice: handle("(call $host_drop (global.get $request)) (call $host_drop (global.get $request))").ends("call");
    receiving_after_a_drop: handle("(call $host_drop (global.get $request)) (call $recv (i32.const 1))").ends("call");
    sending_in_finish_after_a_drop: finish("(call $host_drop (global.get $request)) (call $sendall (i32.const 100) (i32.const 2))").ends("call").saying("finish was ended");
    // The handles of the guest's resource and of the host's stand in one table.
    a_handle_of_another_type: handle("(call $recv_from (call $new (i32.const 5)))")
        .with_functions(OWN, IMPORT_OWN, PROVIDE_OWN)
        .fields("(func $recv_from (param $handle i32) (call $host_recv (local.get $handle) (i32.const 1) (i32.const 16)))")
        .ends("call");
    a_flood_of_handles: handle("(loop $again (drop (call $new (i32.const 5))) (br $again))")
        .with_functions(OWN, IMPORT_OWN, PROVIDE_OWN).cpu_time("10s").ends("handles").saying("as many handles as it may");
    making_and_dropping_handles_for_ever: handle("(loop $again (call $drop_own (call $new (i32.const 5))) (br $again))")
        .with_functions(OWN, IMPORT_OWN, PROVIDE_OWN).ends("cpu-time");
    // The handler drops a handle of the host's, whose number its own resource then receives.
    a_handle_whose_number_was_given_again: handle(
        "(call $host_drop (global.get $request)) (drop (call $new (i32.const 1))) (call $recv (i32.const 1))"
    ).with_functions(OWN, IMPORT_OWN, PROVIDE_OWN).ends("call");
}

/// A resource that the guest defines.
const OWN: &str = "(type $own (resource (rep i32)))
  (core func $new (canon resource.new $own))
  (core func $drop-own (canon resource.drop $own))";
const IMPORT_OWN: &str = "(import \"host\" \"new\" (func $new (param i32) (result i32)))
    (import \"host\" \"drop-own\" (func $drop_own (param i32)))";
const PROVIDE_OWN: &str = "(export \"new\" (func $new)) (export \"drop-own\" (func $drop-own))";
