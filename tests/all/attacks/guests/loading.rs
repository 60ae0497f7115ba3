//! Handlers that do harm before the first request. The host refuses them, while a server of
//! another handler answers its clients.

use socketserver_tests::bystander::Bystander;

use super::{FORKING, SYNC, WORKERS, handle};
use crate::attacks::attack;
use crate::fixture::{FIXTURE, Fixture};
use crate::load::refused;

/// Defines a test for each row: its name, the text of the component, and the error.
macro_rules! refused {
    ($($name:ident: $text:expr, $saying:expr;)*) => {$(
        #[test]
        fn $name() {
            check_refused($text.as_ref(), $saying);
        }
    )*};
}

fn check_refused(text: &str, saying: &str) {
    let mut served = FIXTURE.serve(&[]);
    let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
    attack(&mut served.server, &bystander, |_, _| {
        let said = refused("handler.wat", text.as_bytes(), &["--cpu-time", "50ms"]);
        assert!(said.contains(saying), "not `{saying}`: {said}");
    });
}

/// Returns the text of a handler with this start function.
fn start(code: &str) -> String {
    let fields = format!("(func $start {code}) (start $start)");
    Fixture { fields: &fields, ..FIXTURE }.text()
}

/// Returns the text of a handler with these fields in its module.
fn fields(fields: &'static str) -> String {
    handle("").fields(fields).fixture.text()
}

/// Returns the text of the fixture with `old` replaced by `new`.
fn replaced(old: &str, new: &str) -> String {
    let text = FIXTURE.text();
    assert!(text.contains(old), "the fixture has no `{old}`");
    text.replace(old, new)
}

fn a_handle_that_returns_u32() -> String {
    let text = replaced(
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

/// Returns the text of a handler with more instances of a module.
fn with_instances(module: &str, instances: usize) -> String {
    let component =
        format!("{module} {}", "(core instance (instantiate $more)) ".repeat(instances));
    Fixture { component: &component, ..FIXTURE }.text()
}

/// Returns the text of a handler with more imports.
fn with_imports(names: &[&str]) -> String {
    let imports: Vec<_> =
        names.iter().map(|name| format!("(import \"{name}\" (instance))")).collect();
    let imports = imports.concat();
    replaced("(component $handler-component", &format!("(component $handler-component {imports}"))
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
    an_endless_loop_in_start: start("(loop $again (br $again))"), "cannot be instantiated: instantiation was ended: it used up its CPU time of 50ms";
    an_endless_recursion_in_start: start("(call $start)"), "call stack exhausted";
    a_trap_in_start: start("unreachable"), "`unreachable` instruction executed";
    exit_in_start: start("(call $exit (i32.const 0))"), "it called exit, and there is no request yet";
    memory_without_end_in_start: start("(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"), "before that it was refused memory";
    sending_in_start: start("(call $sendall (i32.const 100) (i32.const 2))"), "cannot be instantiated";
    an_initial_memory_beyond_the_limit: Fixture { memory: "2000", ..FIXTURE }.text(), "(131072000 in its memories, ";
    too_many_memories_in_a_module: fields("(memory 1) (memory 1)"), "exceeds the per-instance limit";
    too_many_memories: with_instances("(core module $more (memory 1))", 20), "which exceeds the configured maximum of 16";
    too_many_instances: with_instances("(core module $more)", 200), "which exceeds the configured maximum of 100";
    too_many_tables: with_instances("(core module $more (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref))", 20), "which exceeds the configured maximum of 64";
    a_table_of_ten_million_entries: fields("(table 10000000 funcref)"), "table";
    a_memory_of_64_bits: fields("(memory i64 1)"), "is not a valid component";
    a_shared_memory: fields("(memory 1 1 shared)"), "is not a valid component";
    an_atomic_instruction: fields("(func (drop (i32.atomic.load (i32.const 1))))"), "is not a valid component";
    an_exception: fields("(tag)"), "is not a valid component";
    importing_everything: with_imports(&EVERYTHING), "imports `wasi:http/incoming-handler@0.2.6`, which the host does not provide (nor 2 others)";
    importing_a_version_that_is_not_provided: with_imports(&["socketserver:handler/sockets@1.1.0"]), "imports `socketserver:handler/sockets@1.1.0`, which the host does not provide";
    an_import_with_control_characters_in_its_name: replaced("(export \"log\" (func (param", "(export \"log\u{7f}\" (func (param"), "is not valid";
    exporting_nothing: "(component)", "exports nothing";
    exporting_no_setup: replaced("(with \"setup\" (func $setup))", ""), "is not a valid component";
    exporting_a_setup_without_parameters: replaced(
        "(export \"setup\" (func $setup) (func (param \"request\" (own $exported-socket)) (param \"client-address\" $exported-address) (result (result (error string)))))",
        "(export \"setup\" (func $handle))"
    ), "was built against another version of the contract";
    exporting_a_handle_that_returns_another_type: a_handle_that_returns_u32(), "was built against another version of the contract";
    exporting_a_function_instead_of_the_interface: replaced(
        "(export \"socketserver:handler/stream-request@0.1.0\" (instance $stream-request))",
        "(export \"stream-request\" (func $handle))"
    ), "does not target";
    exporting_another_version: replaced("stream-request@0.1.0", "stream-request@0.2.0"), "does not target";
}

/// Globals stand outside of the memories, so that no limit on memories bounds them. Each
/// instance would have 3 MB of them.
#[test]
fn too_many_globals_in_each_mode() {
    let module =
        format!("(core module $more {})", "(global (mut i32) (i32.const 0))".repeat(20_001));
    let text = with_instances(&module, 10);
    for mode in [&[], FORKING, WORKERS, SYNC] {
        let said = refused("handler.wat", text.as_bytes(), mode);
        assert!(said.contains("which exceeds the configured maximum of 1048576 bytes"), "{said}");
    }
}
