//! Handlers that trap in each way, or exit.

use super::{finish, handle, hostile, setup};

hostile! {
    unreachable_in_setup: setup("unreachable").ends("trap").saying("setup was ended");
    unreachable_in_handle: handle("unreachable").ends("trap").saying("handle was ended: wasm trap: wasm `unreachable` instruction executed");
    unreachable_in_finish: finish("unreachable").ends("trap").saying("finish was ended");
    unreachable_in_post_return: handle("").post_return("unreachable").ends("trap").saying("handle was ended");
    a_division_by_zero: handle("(drop (i32.div_s (i32.const 1) (i32.const 0)))").ends("trap").saying("integer divide by zero");
    a_remainder_of_a_division_by_zero: handle("(drop (i64.rem_u (i64.const 1) (i64.const 0)))").ends("trap").saying("integer divide by zero");
    a_division_that_overflows: handle("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))").ends("trap").saying("integer overflow");
    a_conversion_of_nan_to_an_integer: handle("(drop (i32.trunc_f64_s (f64.const nan)))").ends("trap").saying("invalid conversion to integer");
    a_conversion_of_a_number_that_is_too_large: handle("(drop (i32.trunc_f64_s (f64.const 1e300)))").ends("trap").saying("integer overflow");
    a_load_outside_of_the_memory: handle("(drop (i32.load (i32.const -4)))").ends("trap").saying("out of bounds memory access");
    a_load_across_the_end: handle("(drop (i64.load (i32.const 65535)))").ends("trap").saying("out of bounds memory access");
    a_load_with_a_large_offset: handle("(drop (i32.load offset=0xffffffff (i32.const -1)))").ends("trap").saying("out of bounds memory access");
    a_store_outside_of_the_memory: handle("(i32.store (i32.const 65536) (i32.const 1))").ends("trap").saying("out of bounds memory access");
    a_copy_outside_of_the_memory: handle("(memory.copy (i32.const 0) (i32.const 65000) (i32.const 1000))").ends("trap").saying("out of bounds memory access");
    a_data_segment_outside_of_the_memory: handle("(memory.init $d (i32.const 65535) (i32.const 0) (i32.const 2))")
        .fields("(data $d \"ab\")").ends("trap").saying("out of bounds memory access");
    a_vector_outside_of_the_memory: handle("(drop (v128.load (i32.const 65530)))").ends("trap").saying("out of bounds memory access");
    an_entry_outside_of_the_table: handle("(drop (table.get (i32.const 1)))").fields("(table 1 funcref)").ends("trap").saying("out of bounds table access");
    a_call_outside_of_the_table: handle("(call_indirect (i32.const 9))").fields("(table 1 funcref)").ends("trap").saying("undefined element");
    a_call_of_an_empty_entry: handle("(call_indirect (i32.const 0))").fields("(table 1 funcref)").ends("trap").saying("uninitialized element");
    a_call_of_another_type: handle("(call_indirect (i32.const 0))")
        .fields("(table funcref (elem $other)) (func $other (param i64))").ends("trap").saying("indirect call type mismatch");

    // As `SystemExit` in Python: the request ends, and the host logs nothing.
    exit_in_setup: setup("(call $exit (i32.const 1))").answers(b"");
    exit_in_handle: handle("(call $sendall (i32.const 100) (i32.const 2)) (call $exit (i32.const 0))").answers(b"ok");
    exit_in_finish: finish("(call $exit (i32.const 1))").answers(b"");
    exit_with_a_status_that_does_not_exist: handle("(call $exit (i32.const 7))").ends("call");
    exit_after_an_endless_loop: handle("(loop $again (br $again)) (call $exit (i32.const 0))").ends("cpu-time");
}
