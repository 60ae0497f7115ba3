//! Handlers that pass false pointers, lengths and values to the host.

use super::{handle, hostile, realloc, receive, setup, when_asked};

/// `log` for text in UTF-16, beside the `log` for UTF-8.
const LOG_UTF16: &str =
    "(core func $log16 (canon lower (func $log \"log\") (memory $memory) string-encoding=utf16))";
pub const IMPORT_LOG_UTF16: &str =
    "(import \"host\" \"log16\" (func $host_log16 (param i32 i32 i32)))";
pub const PROVIDE_LOG_UTF16: &str = "(export \"log16\" (func $log16))";
/// `log` for text in Latin-1 or UTF-16.
pub const LOG_COMPACT: &str = "(core func $log16 (canon lower (func $log \"log\") (memory $memory) string-encoding=latin1+utf16))";

hostile! {
    sending_a_list_of_4_gib: handle("(call $sendall (i32.const 0) (i32.const -1))").ends("call");
    sending_a_list_of_2_gib: handle("(call $sendall (i32.const 0) (i32.const 0x7fffffff))").ends("call");
    sending_a_list_that_begins_before_the_memory: handle("(call $sendall (i32.const -1) (i32.const 1))").ends("call");
    sending_a_list_that_begins_after_the_memory: handle("(call $sendall (i32.const 65536) (i32.const 1))").ends("call");
    sending_a_list_that_goes_past_the_end: handle("(call $sendall (i32.const 65535) (i32.const 2))").ends("call");
    sending_a_list_that_wraps_around: handle("(call $sendall (i32.const -16) (i32.const 32))").ends("call");
    sending_the_last_byte_of_the_memory: handle(
        "(i32.store8 (i32.const 65535) (i32.const 33)) (call $sendall (i32.const 65535) (i32.const 1))"
    ).answers(b"!");
    logging_4_gib: handle("(call $host_log (i32.const 1) (i32.const 0) (i32.const -1))").ends("call");
    logging_text_that_goes_past_the_end: handle("(call $host_log (i32.const 1) (i32.const 65535) (i32.const 2))").ends("call");
    logging_at_a_level_that_does_not_exist: handle("(call $host_log (i32.const 9) (i32.const 100) (i32.const 2))").ends("call");
    logging_text_that_is_not_utf_8: handle(
        "(i32.store8 (i32.const 1024) (i32.const 255)) (call $host_log (i32.const 1) (i32.const 1024) (i32.const 1))"
    ).ends("call").saying("utf-8");
    logging_half_a_character: handle(
        "(i32.store16 (i32.const 1024) (i32.const 0x82e2)) (call $host_log (i32.const 1) (i32.const 1024) (i32.const 2))"
    ).ends("call").saying("utf-8");
    logging_a_lone_surrogate_in_utf_16: handle(
        "(i32.store16 (i32.const 1024) (i32.const 0xd800)) (call $host_log16 (i32.const 1) (i32.const 1024) (i32.const 1))"
    ).with_functions(LOG_UTF16, IMPORT_LOG_UTF16, PROVIDE_LOG_UTF16).ends("call");
    logging_utf_16_at_an_odd_address: handle(
        "(call $host_log16 (i32.const 1) (i32.const 1025) (i32.const 1))"
    ).with_functions(LOG_UTF16, IMPORT_LOG_UTF16, PROVIDE_LOG_UTF16).ends("call");
    logging_utf_16_whose_length_overflows: handle(
        "(call $host_log16 (i32.const 1) (i32.const 1024) (i32.const 0x80000000))"
    ).with_functions(LOG_UTF16, IMPORT_LOG_UTF16, PROVIDE_LOG_UTF16).ends("call");
    logging_a_compact_string_whose_length_overflows: handle(
        "(call $host_log16 (i32.const 1) (i32.const 1024) (i32.const -1))"
    ).with_functions(LOG_COMPACT, IMPORT_LOG_UTF16, PROVIDE_LOG_UTF16).ends("call");

    results_past_the_end_of_the_memory: handle("(call $host_recv (global.get $request) (i32.const 0) (i32.const 65533))").ends("call");
    results_outside_of_the_memory: handle("(call $host_recv (global.get $request) (i32.const 0) (i32.const -4))").ends("call");
    results_at_an_odd_address: handle("(call $host_recv (global.get $request) (i32.const 0) (i32.const 17))").ends("call");
    results_of_sendall_past_the_end: handle(
        "(call $host_sendall (global.get $request) (i32.const 100) (i32.const 2) (i32.const 65535))"
    ).ends("call");
    // Such a handler damages only its own memory.
    results_over_its_own_data: handle(
        "(call $host_recv (global.get $request) (i32.const 0) (i32.const 100)) (call $sendall (i32.const 104) (i32.const 2))"
    ).answers(b"\0\x04");

    realloc_returns_memory_past_the_end: realloc(when_asked!("(return (i32.const 65535))")).ends("call");
    realloc_returns_an_address_outside_of_the_memory: realloc(when_asked!("(return (i32.const 0x10000000))")).ends("call");
    realloc_returns_the_highest_address: realloc(when_asked!("(return (i32.const -1))")).ends("call");
    realloc_returns_memory_that_is_in_use: realloc(when_asked!("(return (i32.const 99))")).with_handle(concat!(receive!(), "(call $sendall (i32.const 99) (i32.const 3))")).answers(b"yzk");
    realloc_returns_the_address_of_the_result: realloc(when_asked!("(return (i32.const 16))")).with_handle(concat!(receive!(), "(call $sendall (i32.const 24) (i32.const 4))")).answers(b"\x02\0\0\0");
    realloc_traps: realloc(when_asked!("unreachable")).ends("trap");

    handle_returns_a_result_past_the_end: handle("(return (i32.const 65535))").ends("call");
    handle_returns_a_result_outside_of_the_memory: handle("(return (i32.const -4))").ends("call");
    handle_returns_an_odd_address: handle("(return (i32.const 49))").ends("call");
    handle_returns_a_case_that_does_not_exist: handle("(i32.store8 (i32.const 48) (i32.const 2)) (return (i32.const 48))").ends("call");
    setup_returns_a_case_that_does_not_exist: setup("(i32.store8 (i32.const 48) (i32.const 255)) (return (i32.const 48))").ends("call").saying("setup was ended");
    an_error_of_4_gib: handle("(return (call $error (i32.const 0) (i32.const -1)))").ends("call");
    an_error_past_the_end: handle("(return (call $error (i32.const 65535) (i32.const 2)))").ends("call");
    an_error_that_is_not_utf_8: handle(
        "(i32.store8 (i32.const 1024) (i32.const 255)) (return (call $error (i32.const 1024) (i32.const 1)))"
    ).ends("call").saying("utf-8");
    an_error_of_a_megabyte: handle(
        "(drop (memory.grow (i32.const 20))) (return (call $error (i32.const 0) (i32.const 1000000)))"
    ).ends("error").saying("bytes more");
    // The host would copy such an error, and the copy counts as memory of no request.
    an_error_of_more_than_a_mebibyte: handle(
        "(drop (memory.grow (i32.const 20))) (return (call $error (i32.const 0) (i32.const 1048577)))"
    ).ends("call").saying("too much data is being copied");
}
