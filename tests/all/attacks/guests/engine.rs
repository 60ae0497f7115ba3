//! Handlers for whose instances the engine allocates much memory on the host. The host counts
//! that memory when it loads the component, as memory of the instance, and refuses too much.

use std::fmt::Write as _;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;
use socketserver_tests::process::{Server, wait_until};
use socketserver_tests::procfs::{children, private_memory};
use socketserver_tests::usage::Usage;

use super::{FORKING, SYNC, WORKERS};
use crate::client::{ask, expect, read_to_end};
use crate::fixture::{FIXTURE, File, Fixture, host};
use crate::load::refused;

/// The memory of a request that is not counted: the stacks of a thread, and the memory that
/// the allocator reserves for it.
const THREAD: u64 = 64 << 10;

/// The memory of a forked process that is not counted: its copies of pages of its parent that
/// it writes to.
const PROCESS: u64 = 256 << 10;

/// The number of requests in flight while memory is measured.
const REQUESTS: u64 = 40;

/// Code that sends `ok`, and waits until the client sends more.
const WAITS: &str = "(call $sendall (i32.const 100) (i32.const 2)) (call $recv (i32.const 1))";

/// Returns a module with `count` passive element segments of `entries` entries.
fn segments(count: usize, entries: usize) -> String {
    let segment = format!("(elem func {})", "0 ".repeat(entries));
    format!("(core module $more (func) {})", segment.repeat(count))
}

/// Returns a handler that waits, with instances of `$more`, which `module` defines.
fn with_instances(module: &str, instances: usize) -> String {
    let instances = "(core instance (instantiate $more)) ".repeat(instances);
    waits(&format!("{module} {instances}"))
}

/// Returns a handler with instances of a module whose table has `entries` entries, which
/// refer to `functions` functions in turn. The handler reads each entry, because the engine
/// makes an entry when it is first read.
fn with_full_tables(functions: usize, entries: usize, instances: usize) -> String {
    let list = (0..entries).fold(String::new(), |mut text, entry| {
        let _ = write!(text, "{} ", entry % functions);
        text
    });
    let mut component = format!(
        "(core module $more {}
          (table {entries} funcref) (elem (i32.const 0) func {list})
          (func (export \"read\") (local $at i32)
            (loop $again
              (drop (table.get (local.get $at)))
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (br_if $again (i32.lt_u (local.get $at) (i32.const {entries}))))))",
        "(func)".repeat(functions)
    );
    let (mut imports, mut provides, mut calls) = (String::new(), String::new(), String::new());
    for at in 0..instances {
        let _ = write!(
            component,
            "(core instance $more{at} (instantiate $more))
            (alias core export $more{at} \"read\" (core func $read{at}))"
        );
        let _ = write!(imports, "(import \"host\" \"read{at}\" (func $read{at}))");
        let _ = write!(provides, "(export \"read{at}\" (func $read{at}))");
        let _ = write!(calls, "(call $read{at})");
    }
    let handle = &format!("{calls} {WAITS}");
    let (component, imports, provides) = (&component, &imports, &provides);
    Fixture { handle, component, imports, provides, ..FIXTURE }.text()
}

fn waits(component: &str) -> String {
    Fixture { handle: WAITS, component, ..FIXTURE }.text()
}

/// Returns handlers, each of which has the engine allocate as much as is allowed for one kind
/// of thing.
fn kinds() -> Vec<(&'static str, String)> {
    let nested = format!(
        "(component $more (type $own (resource (rep i32))) (core func (canon resource.new $own))) {}",
        "(instance (instantiate $more))".repeat(900)
    );
    let resources = "(type (resource (rep i32)))".repeat(5000);
    let unused = format!(
        "{}(core module $more (func $f (export \"f\")))",
        "(core module (func))".repeat(900)
    );
    let data = format!("(core module $more (memory 1) (data \"{}\"))", "x".repeat(1 << 20));
    let exports = (0..5000).fold(String::from("(core module $more (func $f)"), |mut text, at| {
        let _ = write!(text, "(export \"{at}\" (func $f))");
        text
    }) + ")";
    vec![
        ("element segments", with_instances(&segments(4, 300), 40)),
        ("element segments without entries", with_instances(&segments(200, 0), 60)),
        ("core instances", with_instances("(core module $more)", 97)),
        (
            "globals",
            with_instances(
                &format!("(core module $more {})", "(global (mut i32) (i32.const 0))".repeat(5000)),
                10,
            ),
        ),
        ("functions in tables", with_full_tables(5000, 5000, 4)),
        (
            "tables",
            with_instances(&format!("(core module $more {})", "(table 1 funcref)".repeat(6)), 10),
        ),
        ("entries of tables", with_full_tables(1, 20_000, 20)),
        ("memories", with_instances("(core module $more (memory 1))", 14)),
        ("component instances", waits(&nested)),
        ("resources", waits(&resources)),
        ("handles", with_handles(100)),
        ("modules", with_instances(&unused, 1)),
        ("passive data", with_instances(&data, 10)),
        ("exports", with_instances(&exports, 20)),
    ]
}

/// Returns a handler with component instances each of which once held as many handles as is
/// allowed. Their tables stay as large as they were.
///
/// A component cannot call components that it contains, so that the handler is a component
/// beside these instances.
fn with_handles(instances: usize) -> String {
    let mut around = String::from(
        "(component $holder
          (type $own (resource (rep i32)))
          (core func $new (canon resource.new $own))
          (core func $drop (canon resource.drop $own))
          (func (export \"new\") (param \"rep\" u32) (result u32) (canon lift (core func $new)))
          (func (export \"drop\") (param \"handle\" u32) (canon lift (core func $drop))))",
    );
    let mut arguments = ["types", "sockets", "log"]
        .map(|name| format!("(with \"socketserver:handler/{name}@0.1.0\" (instance ${name}))"))
        .concat();
    arguments += "(with \"wasi:cli/exit@0.2.6\" (instance $exit))";
    let (mut component, mut provides) = (String::new(), String::new());
    let (mut imports, mut fill) = (String::new(), String::new());
    for at in 0..instances {
        let _ = write!(around, "(instance $holder{at} (instantiate $holder))");
        for (what, ty) in
            [("new", "(param \"rep\" u32) (result u32)"), ("drop", "(param \"handle\" u32)")]
        {
            let _ = write!(arguments, "(with \"{what}{at}\" (func $holder{at} \"{what}\"))");
            let _ = write!(
                component,
                "(import \"{what}{at}\" (func ${what}{at} {ty}))
                (core func ${what}{at} (canon lower (func ${what}{at})))"
            );
            let _ = write!(provides, "(export \"{what}{at}\" (func ${what}{at}))");
        }
        let _ = write!(
            imports,
            "(import \"\" \"new{at}\" (func $new{at} (param i32) (result i32)))
            (import \"\" \"drop{at}\" (func $drop{at} (param i32)))"
        );
        let _ = write!(
            fill,
            "(loop $again
              (drop (call $new{at} (i32.const 7)))
              (local.set $held (i32.add (local.get $held) (i32.const 1)))
              (br_if $again (i32.lt_u (local.get $held) (i32.const 240))))
            (loop $again
              (call $drop{at} (local.get $held))
              (local.set $held (i32.sub (local.get $held) (i32.const 1)))
              (br_if $again (local.get $held)))"
        );
    }
    let _ = write!(
        component,
        "(core module $fill {imports} (func (export \"fill\") (local $held i32) {fill}))
        (core instance $fill (instantiate $fill (with \"\" (instance {provides}))))
        (alias core export $fill \"fill\" (core func $fill))"
    );
    let handler = Fixture {
        handle: &format!("(call $fill) {WAITS}"),
        component: &component,
        imports: "(import \"host\" \"fill\" (func $fill))",
        provides: "(export \"fill\" (func $fill))",
        ..FIXTURE
    }
    .text();
    let text = FIXTURE.text();
    let (contract, _) = text.split_once("(core func $fileno").unwrap();
    let contract = contract.replace("$handler-component", "$around");
    let export = "socketserver:handler/stream-request@0.1.0";
    format!(
        "{contract} {around} {handler}
        (instance $handler (instantiate $handler-component {arguments}))
        (export \"{export}\" (instance $handler \"{export}\")))"
    )
}

/// Returns the memory that `inspect` counts for an instance of a handler, in bytes.
fn counted_memory(handler: &File) -> u64 {
    let output = host().arg("inspect").arg(&handler.path).arg("--json").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["servable"], true, "{report}");
    let fields = ["initial_memory", "table_memory", "engine_memory"];
    fields.iter().map(|field| report[field].as_u64().unwrap()).sum()
}

fn serve(handler: &File, options: &[&str]) -> Server {
    let mut command = host();
    command.arg("serve").arg(&handler.path).args(["--bind", "tcp://127.0.0.1:0"]).args(options);
    Server::start(&mut command, 1).unwrap()
}

/// Returns the number of requests that the server accepts at once, which it logs.
fn max_requests(server: &mut Server) -> usize {
    let serving = server.wait_for_log("max_requests=").unwrap();
    let (_, number) = serving.split_once("max_requests=").unwrap();
    number.split_whitespace().next().unwrap().parse().unwrap()
}

/// Connects clients, and waits until their requests are in flight.
fn in_flight(server: &Server, count: u64) -> Vec<TcpStream> {
    let mut clients: Vec<_> = (0..count).map(|_| server.connect().unwrap()).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    for client in &mut clients {
        expect(client, b"ok");
    }
    clients
}

fn end(clients: Vec<TcpStream>) {
    for mut client in clients {
        client.write_all(b".").unwrap();
        assert_eq!(read_to_end(&mut client), b"");
    }
}

/// Serves a handler of each kind, and checks that `memory_of_request` returns no more bytes
/// than are counted for an instance, and `uncounted` bytes.
fn check_counted(options: &[&str], uncounted: u64, memory_of_request: impl Fn(&Server) -> u64) {
    let mut over = Vec::new();
    for (kind, text) in kinds() {
        let handler = File::new("handler.wat", text.as_bytes());
        let counted = counted_memory(&handler);
        let server = serve(&handler, &[options, &["--memory", "64MiB"]].concat());
        let used = memory_of_request(&server);
        println!("{kind}: {used} bytes for each request, {counted} are counted");
        if used > counted + uncounted {
            over.push(format!("{kind}: {used} of {counted}"));
        }
    }
    assert!(over.is_empty(), "more than is counted: {over:#?}");
}

#[test]
fn a_request_takes_no_more_memory_than_is_counted() {
    check_counted(&[], THREAD, |server| {
        assert_eq!(ask(server, b"-"), b"ok");
        let memory = || Usage::of_process(server.pid()).unwrap().memory;
        let before = memory();
        let clients = in_flight(server, REQUESTS);
        let used = (memory() - before) / REQUESTS;
        end(clients);
        used
    });
}

#[test]
fn a_forked_process_takes_no_more_memory_than_is_counted() {
    check_counted(&[FORKING, &["--jail", "off"]].concat(), PROCESS, |server| {
        let clients = in_flight(server, 4);
        let children = children(server.pid()).unwrap();
        let used = children.into_iter().map(|child| private_memory(child).unwrap()).max().unwrap();
        end(clients);
        used
    });
}

/// A component of 360 KB whose instances would need 230 MB each.
#[test]
fn element_segments_that_are_evaluated_for_each_instance_are_refused() {
    let text = with_instances(&segments(4, 90_000), 40);
    for mode in [
        &["--memory", "64MiB"][..],
        &["--profile", "hostile", "--jail", "try", "--concurrency", "forking"],
        WORKERS,
        SYNC,
    ] {
        let said = refused("handler.wat", text.as_bytes(), mode);
        assert!(said.contains("the engine keep 230"), "{said}");
        assert!(
            said.contains("for passive element segments, and the engine may keep 1048576"),
            "{said}"
        );
    }
}

#[test]
fn what_the_engine_keeps_counts_as_memory() {
    let text = with_instances(&segments(4, 300), 40);
    let said = refused("handler.wat", text.as_bytes(), &["--memory", "800KiB"]);
    assert!(said.contains("(65536 in its memories, 0 in its tables, "), "{said}");
    assert!(said.contains(" kept by the engine), and may have 819200"), "{said}");
}

/// Two requests fit at once, and other clients wait.
#[test]
fn what_the_engine_keeps_counts_for_all_requests_together() {
    let text = with_instances(&segments(4, 300), 40);
    let handler = File::new("handler.wat", text.as_bytes());
    let options = ["--memory-total", "3MiB", "--idle-timeout", "10m", "--log-level", "debug"];
    let mut server = serve(&handler, &options);
    assert_eq!(max_requests(&mut server), 2);
    let mut clients: Vec<_> = (0..4).map(|_| server.connect().unwrap()).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    // The server serves the later clients when the requests of others have ended.
    for mut client in clients {
        expect(&mut client, b"ok");
        client.write_all(b".").unwrap();
        assert_eq!(read_to_end(&mut client), b"");
    }
    assert_eq!(ask(&server, b"-"), b"ok");
}

/// The pool has room for nine instances of this handler at once.
#[test]
fn clients_wait_until_the_pool_has_tables_for_them() {
    let module = format!("(core module $more {})", "(table 1 funcref)".repeat(6));
    let handler = File::new("handler.wat", with_instances(&module, 10).as_bytes());
    let host = host();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 200; exec \"$0\" \"$@\""]).arg(host.get_program());
    command.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.arg("serve").arg(&handler.path).args(["--bind", "tcp://127.0.0.1:0"]);
    command.args(["--log-level", "debug"]);
    let mut server = Server::start(&mut command, 1).unwrap();
    let at_once = max_requests(&mut server);
    let mut clients: Vec<_> = (0..60).map(|_| server.connect().unwrap()).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    let failed = |server: &mut Server| server.log().iter().any(|line| line.contains("no-instance"));
    wait_until("the server has as many threads as requests", || {
        failed(&mut server) || Usage::of_process(server.pid()).unwrap().threads > at_once
    });
    assert!(!failed(&mut server), "{:#?}", server.log());
    for client in &mut clients {
        expect(client, b"ok");
        client.write_all(b".").unwrap();
        assert_eq!(read_to_end(client), b"");
    }
    assert_eq!(ask(&server, b"-"), b"ok");
    assert!(!failed(&mut server), "{:#?}", server.log());
    assert!(at_once < clients.len(), "{at_once} at once is no test");
}
