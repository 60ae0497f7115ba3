//! Handlers that do their harm, or show it, before they serve anybody: they are
//! refused, while the clients of another one are served.

use socketserver_tests::bystander::Bystander;

use super::{FORKING, SYNC, WORKERS, handle};
use crate::attacks::attack;
use crate::fixture::{FIXTURE, Fixture};
use crate::load::refused;

/// Makes a test of each: its name, its text, and what is said of it.
macro_rules! refused {
    ($($name:ident: $text:expr, $saying:expr;)*) => {$(
        #[test]
        fn $name() {
            is_refused($text.as_ref(), $saying);
        }
    )*};
}

fn is_refused(text: &str, saying: &str) {
    let mut served = FIXTURE.serve(&[]);
    let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
    attack(&mut served.server, &bystander, |_, _| {
        let said = refused("handler.wat", text.as_bytes(), &["--cpu-time", "50ms"]);
        assert!(said.contains(saying), "not `{saying}`: {said}");
    });
}

/// A handler with this start function.
fn start(code: &str) -> String {
    let fields = format!("(func $start {code}) (start $start)");
    Fixture { fields: &fields, ..FIXTURE }.text()
}

/// A handler with these fields in its module.
fn fields(fields: &'static str) -> String {
    handle("").fields(fields).fixture.text()
}

/// A handler with one thing exchanged for another.
fn with(this: &str, that: &str) -> String {
    let text = FIXTURE.text();
    assert!(text.contains(this), "the fixture has no `{this}`");
    text.replace(this, that)
}

fn a_handle_that_returns_u32() -> String {
    let text = with(
        "(func $handle (result (result (error string)))\n    (canon",
        "(func $handle (result u32)\n    (canon",
    );
    text.replace(
        "(import \"handle\" (func $handle (result (result (error string)))))",
        "(import \"handle\" (func $handle (result u32)))",
    )
    .replace(
        "(export \"handle\" (func $handle) (func (result (result (error string)))))",
        "(export \"handle\" (func $handle) (func (result u32)))",
    )
}

/// A handler with so many instances of a module besides.
fn more(module: &str, instances: usize) -> String {
    let component =
        format!("{module} {}", "(core instance (instantiate $more)) ".repeat(instances));
    Fixture { component: &component, ..FIXTURE }.text()
}

/// A handler that imports these besides.
fn imports(names: &[&str]) -> String {
    let imports: Vec<_> =
        names.iter().map(|name| format!("(import \"{name}\" (instance))")).collect();
    let imports = imports.concat();
    with("(component $handler-component", &format!("(component $handler-component {imports}"))
}

const EVERYTHING: [&str; 19] = [
    "wasi:cli/environment@0.2.6",
    "wasi:cli/stdin@0.2.6",
    "wasi:cli/stdout@0.2.6",
    "wasi:cli/stderr@0.2.6",
    "wasi:cli/terminal-input@0.2.6",
    "wasi:clocks/monotonic-clock@0.2.6",
    "wasi:clocks/wall-clock@0.2.6",
    "wasi:filesystem/preopens@0.2.6",
    "wasi:filesystem/types@0.2.6",
    "wasi:http/incoming-handler@0.2.6",
    "wasi:http/outgoing-handler@0.2.6",
    "wasi:io/poll@0.2.6",
    "wasi:io/streams@0.2.6",
    "wasi:random/random@0.2.6",
    "wasi:sockets/ip-name-lookup@0.2.6",
    "wasi:sockets/network@0.2.6",
    "wasi:sockets/tcp@0.2.6",
    "wasi:sockets/udp@0.2.6",
    "wasi:keyvalue/store@0.2.0",
];

refused! {
    an_endless_loop_in_start: start("(loop $again (br $again))"), "cannot be instantiated: the making of the instance was ended: it used up its CPU time of 50ms";
    an_endless_recursion_in_start: start("(call $start)"), "call stack exhausted";
    a_trap_in_start: start("unreachable"), "`unreachable` instruction executed";
    exit_in_start: start("(call $exit (i32.const 0))"), "it called exit, and there is no request yet";
    memory_without_end_in_start: start("(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"), "before that it was refused memory";
    sending_in_start: start("(call $sendall (i32.const 100) (i32.const 2))"), "cannot be instantiated";
    more_memory_to_begin_with_than_it_may_have: Fixture { memory: "2000", ..FIXTURE }.text(), "(131072000 in its memories, ";
    more_memories_in_a_module_than_it_may_have: fields("(memory 1) (memory 1)"), "exceeds the per-instance limit";
    more_memories_than_it_may_have: more("(core module $more (memory 1))", 20), "which exceeds the configured maximum of 16";
    more_instances_than_it_may_have: more("(core module $more)", 200), "which exceeds the configured maximum of 100";
    more_tables_than_it_may_have: more("(core module $more (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref))", 20), "which exceeds the configured maximum of 64";
    a_table_of_ten_million_entries: fields("(table 10000000 funcref)"), "table";
    a_memory_of_64_bits: fields("(memory i64 1)"), "is not a valid component";
    a_shared_memory: fields("(memory 1 1 shared)"), "is not a valid component";
    an_atomic_instruction: fields("(func (drop (i32.atomic.load (i32.const 1))))"), "is not a valid component";
    an_exception: fields("(tag)"), "is not a valid component";
    importing_everything: imports(&EVERYTHING), "imports `wasi:http/incoming-handler@0.2.6`, which is not granted to it (nor are 6 others)";
    importing_what_only_looks_granted: imports(&["socketserver:handler/sockets@1.1.0"]), "imports `socketserver:handler/sockets@1.1.0`, which is not granted";
    importing_with_control_characters_in_the_name: with("(export \"log\" (func (param", "(export \"log\u{7f}\" (func (param"), "is not valid";
    exporting_nothing: "(component)", "exports nothing";
    exporting_no_setup: with("(with \"setup\" (func $setup))", ""), "is not a valid component";
    exporting_a_setup_that_takes_nothing: with(
        "(export \"setup\" (func $setup) (func (param \"request\" (own $exported-socket)) (param \"client-address\" $exported-address) (result (result (error string)))))",
        "(export \"setup\" (func $handle))"
    ), "was built against another version of the contract";
    exporting_a_handle_that_returns_another_type: a_handle_that_returns_u32(), "was built against another version of the contract";
    exporting_a_function_in_the_place_of_the_interface: with(
        "(export \"socketserver:handler/stream-request@0.1.0\" (instance $stream-request))",
        "(export \"stream-request\" (func $handle))"
    ), "does not target";
    exporting_another_version: with("stream-request@0.1.0", "stream-request@0.2.0"), "does not target";
}

/// Globals are in no memory, and so under no limit of memory: each handler would
/// begin with 3 MB of them.
#[test]
fn more_globals_than_it_may_have_in_each_mode() {
    let module =
        format!("(core module $more {})", "(global (mut i32) (i32.const 0))".repeat(20_001));
    let text = more(&module, 10);
    for mode in [&[], FORKING, WORKERS, SYNC] {
        let said = refused("handler.wat", text.as_bytes(), mode);
        assert!(said.contains("which exceeds the configured maximum of 1048576 bytes"), "{said}");
    }
}
