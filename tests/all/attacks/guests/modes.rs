//! Some hostile handlers of each kind, where requests run one at a time or in processes.

use super::{FORKING, Hostile, SYNC, WORKERS, finish, handle, realloc, receive, setup, when_asked};

/// Defines a test for each handler and each of these ways of running requests.
macro_rules! in_other_modes {
    ($($name:ident: $guest:expr;)*) => {$(
        mod $name {
            use super::*;

            const GUEST: Hostile = $guest;

            #[test]
            fn in_the_loop() {
                GUEST.run(SYNC);
            }

            #[test]
            fn in_a_child_for_each_request() {
                GUEST.run(FORKING);
            }

            #[test]
            fn in_workers() {
                GUEST.run(WORKERS);
            }
        }
    )*};
}

in_other_modes! {
    an_endless_loop: handle("(loop $again (br $again))").ends("cpu-time");
    an_endless_loop_in_realloc: realloc(when_asked!("(loop $again (br $again))")).ends("cpu-time");
    an_endless_recursion: handle("(call $deeper)").fields("(func $deeper (call $deeper) (call $deeper))").ends("stack");
    memory_up_to_the_limit: handle(
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"
    ).options(&["--memory", "8MiB"]).ends("memory");
    a_list_of_4_gib: handle("(call $sendall (i32.const 0) (i32.const -1))").ends("call");
    realloc_returns_an_address_outside_of_the_memory: realloc(when_asked!("(return (i32.const -1))")).ends("call");
    a_forged_handle: setup("(call $host_close (i32.const 7))").ends("call");
    a_trap: finish("unreachable").ends("trap");
    parked_in_recv: handle(receive!()).options(&["--idle-timeout", "400ms"]).ends_for("idle-timeout", "client");
    an_error_of_terminal_escapes: handle("(return (call $error (i32.const 120) (i32.const 12)))").ends("error").saying(r"\u{1b}[2Jred\n");
    past_the_wall_time: handle("(loop $again (br $again))").cpu_time("1h").options(&["--wall-time", "400ms"]).clients(1).ends_for("wall-time", "policy");
    exit: handle("(call $exit (i32.const 1))").answers(b"");
}
