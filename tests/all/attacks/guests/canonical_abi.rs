//! Handlers that hand the host pointers, lengths and values that are not true.

use super::{handle, hostile, realloc, receive, setup, when_asked};

/// `log` for text in UTF-16, beside the other.
const LOG_UTF16: &str =
    "(core func $log16 (canon lower (func $log \"log\") (memory $memory) string-encoding=utf16))";
const IMPORT_LOG16: &str = "(import \"host\" \"log16\" (func $host_log16 (param i32 i32 i32)))";
const GIVE_LOG16: &str = "(export \"log16\" (func $log16))";
/// The same for text in one of two encodings.
const LOG_COMPACT: &str = "(core func $log16 (canon lower (func $log \"log\") (memory $memory) string-encoding=latin1+utf16))";

hostile! {
    sending_a_list_of_4_gib: handle("(call $sendall (i32.const 0) (i32.const -1))").ends("call");
    sending_a_list_of_2_gib: handle("(call $sendall (i32.const 0) (i32.const 0x7fffffff))").ends("call");
    sending_what_begins_before_the_memory: handle("(call $sendall (i32.const -1) (i32.const 1))").ends("call");
    sending_what_begins_after_the_memory: handle("(call $sendall (i32.const 65536) (i32.const 1))").ends("call");
    sending_what_goes_past_the_end: handle("(call $sendall (i32.const 65535) (i32.const 2))").ends("call");
    sending_what_wraps_around: handle("(call $sendall (i32.const -16) (i32.const 32))").ends("call");
    sending_the_last_byte_of_the_memory: handle(
        "(i32.store8 (i32.const 65535) (i32.const 33)) (call $sendall (i32.const 65535) (i32.const 1))"
    ).answers(b"!");
    logging_4_gib: handle("(call $host_log (i32.const 1) (i32.const 0) (i32.const -1))").ends("call");
    logging_what_goes_past_the_end: handle("(call $host_log (i32.const 1) (i32.const 65535) (i32.const 2))").ends("call");
    logging_at_a_level_that_is_none: handle("(call $host_log (i32.const 9) (i32.const 100) (i32.const 2))").ends("call");
    logging_what_is_not_utf_8: handle(
        "(i32.store8 (i32.const 1024) (i32.const 255)) (call $host_log (i32.const 1) (i32.const 1024) (i32.const 1))"
    ).ends("call").saying("utf-8");
    logging_half_a_character: handle(
        "(i32.store16 (i32.const 1024) (i32.const 0x82e2)) (call $host_log (i32.const 1) (i32.const 1024) (i32.const 2))"
    ).ends("call").saying("utf-8");
    logging_a_lone_surrogate_in_utf_16: handle(
        "(i32.store16 (i32.const 1024) (i32.const 0xd800)) (call $host_log16 (i32.const 1) (i32.const 1024) (i32.const 1))"
    ).with(LOG_UTF16, IMPORT_LOG16, GIVE_LOG16).ends("call");
    logging_utf_16_at_an_odd_place: handle(
        "(call $host_log16 (i32.const 1) (i32.const 1025) (i32.const 1))"
    ).with(LOG_UTF16, IMPORT_LOG16, GIVE_LOG16).ends("call");
    logging_utf_16_whose_length_overflows: handle(
        "(call $host_log16 (i32.const 1) (i32.const 1024) (i32.const 0x80000000))"
    ).with(LOG_UTF16, IMPORT_LOG16, GIVE_LOG16).ends("call");
    logging_a_compact_string_whose_length_overflows: handle(
        "(call $host_log16 (i32.const 1) (i32.const 1024) (i32.const -1))"
    ).with(LOG_COMPACT, IMPORT_LOG16, GIVE_LOG16).ends("call");

    results_past_the_end_of_the_memory: handle("(call $host_recv (global.get $request) (i32.const 0) (i32.const 65533))").ends("call");
    results_outside_of_the_memory: handle("(call $host_recv (global.get $request) (i32.const 0) (i32.const -4))").ends("call");
    results_at_an_odd_place: handle("(call $host_recv (global.get $request) (i32.const 0) (i32.const 17))").ends("call");
    results_of_sendall_past_the_end: handle(
        "(call $host_sendall (global.get $request) (i32.const 100) (i32.const 2) (i32.const 65535))"
    ).ends("call");
    // Nobody is harmed but itself.
    results_over_its_own_data: handle(
        "(call $host_recv (global.get $request) (i32.const 0) (i32.const 100)) (call $sendall (i32.const 104) (i32.const 2))"
    ).answers(b"\0\x04");

    realloc_gives_what_is_past_the_end: realloc(when_asked!("(return (i32.const 65535))")).ends("call");
    realloc_gives_what_is_outside: realloc(when_asked!("(return (i32.const 0x10000000))")).ends("call");
    realloc_gives_the_highest_address: realloc(when_asked!("(return (i32.const -1))")).ends("call");
    realloc_gives_what_is_in_use: realloc(when_asked!("(return (i32.const 99))")).and_then(concat!(receive!(), "(call $sendall (i32.const 99) (i32.const 3))")).answers(b"yzk");
    realloc_gives_the_place_of_the_result: realloc(when_asked!("(return (i32.const 16))")).and_then(concat!(receive!(), "(call $sendall (i32.const 24) (i32.const 4))")).answers(b"\x02\0\0\0");
    realloc_traps: realloc(when_asked!("unreachable")).ends("trap");

    handle_returns_what_is_past_the_end: handle("(return (i32.const 65535))").ends("call");
    handle_returns_what_is_outside: handle("(return (i32.const -4))").ends("call");
    handle_returns_an_odd_place: handle("(return (i32.const 49))").ends("call");
    handle_returns_a_case_that_is_none: handle("(i32.store8 (i32.const 48) (i32.const 2)) (return (i32.const 48))").ends("call");
    setup_returns_a_case_that_is_none: setup("(i32.store8 (i32.const 48) (i32.const 255)) (return (i32.const 48))").ends("call").saying("setup was ended");
    an_error_of_4_gib: handle("(return (call $error (i32.const 0) (i32.const -1)))").ends("call");
    an_error_past_the_end: handle("(return (call $error (i32.const 65535) (i32.const 2)))").ends("call");
    an_error_that_is_not_utf_8: handle(
        "(i32.store8 (i32.const 1024) (i32.const 255)) (return (call $error (i32.const 1024) (i32.const 1)))"
    ).ends("call").saying("utf-8");
    an_error_of_a_megabyte: handle(
        "(drop (memory.grow (i32.const 20))) (return (call $error (i32.const 0) (i32.const 1000000)))"
    ).ends("error").saying("bytes more");
    // It would be copied, and counts as nobody's memory.
    an_error_of_more_than_a_mebibyte: handle(
        "(drop (memory.grow (i32.const 20))) (return (call $error (i32.const 0) (i32.const 1048577)))"
    ).ends("call").saying("too much data is being copied");
}
