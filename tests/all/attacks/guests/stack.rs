//! Handlers whose calls nest without end.

use super::{handle, hostile, in_modes, realloc, setup, when_asked};

hostile! {
    an_endless_recursion_in_setup: setup("(call $deeper)")
        .fields("(func $deeper (call $deeper) (call $deeper))").ends("stack").saying("call stack exhausted");
    an_endless_recursion_in_handle: handle("(call $deeper)")
        .fields("(func $deeper (call $deeper) (call $deeper))").ends("stack").saying("call stack exhausted");
    an_endless_recursion_through_a_table: handle("(call $deeper)")
        .fields("(table funcref (elem $deeper)) (func $deeper (call_indirect (i32.const 0)) (call_indirect (i32.const 0)))")
        .ends("stack").saying("call stack exhausted");
    an_endless_recursion_with_large_frames: handle("(drop (call $deeper (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))")
        .fields("(func $deeper (param i64 i64 i64 i64) (result i64)
            (i64.add (local.get 3) (i64.add
                (call $deeper (local.get 1) (local.get 2) (local.get 3) (i64.add (local.get 0) (i64.const 1)))
                (i64.add (local.get 0) (i64.mul (local.get 1) (local.get 2))))))")
        .ends("stack").saying("call stack exhausted");
    // The host's own calls need stack when the guest has almost none left.
    host_calls_at_every_depth: handle("(call $deeper)")
        .fields("(func $deeper
            (call $host_settimeout (global.get $request) (i32.const 0) (f64.const 0) (i32.const 32))
            (call $deeper) (call $deeper))")
        .ends("stack").saying("call stack exhausted");
    // The host also calls `cabi_realloc` at every depth.
    receiving_at_every_depth: handle(
        "(call $host_settimeout (global.get $request) (i32.const 1) (f64.const 0) (i32.const 32)) (call $deeper)"
    ).fields("(func $deeper (call $recv (i32.const 1)) (call $deeper) (call $deeper))").ends("stack").saying("call stack exhausted");
    an_endless_recursion_in_realloc: realloc(when_asked!("(return (call $realloc (i32.const 0) (i32.const 0) (i32.const 0) (call $realloc (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))"))
        .ends("stack").saying("call stack exhausted");
    // The canonical ABI forbids these calls.
    calling_the_host_from_realloc: realloc(when_asked!("(drop (call $host_fileno (i32.const 1)))")).ends("trap").saying("cannot leave component instance");
    calling_the_host_from_post_return: handle("")
        .post_return("(call $sendall (i32.const 100) (i32.const 2))").ends("trap").saying("cannot leave component instance");
}

/// A component that calls its own `handle`, through a table that another module fills.
#[test]
fn a_component_that_enters_itself_again() {
    let hostile = handle("(call_indirect (type $again) (i32.const 200) (i32.const 0))")
        .fields("(type $again (func (param i32))) (table (export \"again\") 1 funcref)")
        .ends("trap");
    let text = hostile.fixture.text().replace(
        "  (func $finish (result (result",
        "  (alias core export $handler \"again\" (core table $again))
  (core func $again (canon lower (func $handle) (memory $memory) (realloc $realloc)))
  (core module $fill
    (import \"\" \"again\" (func $again (param i32)))
    (import \"\" \"table\" (table 1 funcref))
    (elem (i32.const 0) func $again))
  (core instance (instantiate $fill (with \"\" (instance (export \"again\" (func $again)) (export \"table\" (table $again))))))
  (func $finish (result (result",
    );
    assert!(text.contains("$fill"));
    in_modes(|mode| hostile.run_text(&text, mode));
}
