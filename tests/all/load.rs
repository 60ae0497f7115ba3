//! Files that are not handlers. Each has its own error of one line, with exit code 1, and
//! `inspect` reports the same as `serve`.

use std::io::Read;
use std::process::{Output, Stdio};

use serde_json::Value;
use socketserver_tests::build;

use crate::fixture::{FIXTURE, File, Fixture, host};

/// Returns the error of `serve` for a file that it does not serve.
pub fn refused(name: &str, content: &[u8], options: &[&str]) -> String {
    let file = File::new(name, content);
    let mut command = host();
    command.arg("serve").arg(&file.path).args(["--bind", "tcp://127.0.0.1:0"]).args(options);
    let mut serving = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A server that served the file would not end.
    let mut first = [0];
    if serving.stdout.as_mut().unwrap().read(&mut first).unwrap() > 0 {
        serving.kill().unwrap();
        panic!("{name} is served");
    }
    let serve = serving.wait_with_output().unwrap();
    assert_eq!(serve.status.code(), Some(1), "{serve:?}");
    assert!(serve.stdout.is_empty(), "{serve:?}");
    let said = one_line(&serve);
    assert!(
        said.starts_with(&format!("wasm-socketserver: cannot serve `{}`: it", file.path.display())),
        "{said}"
    );
    said
}

fn one_line(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn a_file_that_is_not_webassembly_is_refused() {
    for content in [b"".as_slice(), b"#!/bin/sh\n", b"\xff\xfe\0"] {
        let said = refused("handler.wasm", content, &[]);
        assert!(said.contains("is not WebAssembly"), "{said}");
    }
}

#[test]
fn a_core_module_that_is_no_program_is_refused() {
    for content in [b"\0asm\x01\0\0\0".as_slice(), b"(module)"] {
        let said = refused("handler.wasm", content, &[]);
        assert!(said.contains("is a core WebAssembly module that exports no function"), "{said}");
        assert!(said.contains("socketserver:handler/stream-handler"), "{said}");
    }
}

#[test]
fn text_with_a_mistake_is_refused() {
    let said = refused("handler.wat", b"(component\n  (import))", &[]);
    assert!(said.contains("is not valid WebAssembly text"), "{said}");
}

#[test]
fn a_truncated_component_is_refused() {
    let whole = std::fs::read(build::guest("rust", "upper").unwrap()).unwrap();
    for length in [3, 7, 100, whole.len() / 2, whole.len() - 1] {
        let said = refused("handler.wasm", &whole[..length], &[]);
        assert!(said.contains(&format!("is cut off after {length} bytes")), "{length}: {said}");
    }
}

#[test]
fn flipped_bits_never_harm_the_host() {
    let whole = std::fs::read(build::guest("c", "upper").unwrap()).unwrap();
    for index in (8..whole.len()).step_by(whole.len() / 40) {
        let mut flipped = whole.clone();
        flipped[index] ^= 0x10;
        let file = File::new("handler.wasm", &flipped);
        let output = host().arg("inspect").arg(&file.path).output().unwrap();
        // A flipped bit in a name or in data may leave a valid handler.
        assert!(matches!(output.status.code(), Some(0 | 1)), "{index}: {output:?}");
    }
}

#[test]
fn a_precompiled_artifact_is_refused() {
    let said = refused("handler.cwasm", b"\x7fELF\x02\x01\x01", &[]);
    assert!(said.contains("precompiled artifact"), "{said}");
}

#[test]
fn a_component_of_another_world_is_refused() {
    let said = refused("handler.wat", b"(component)", &[]);
    assert!(said.contains("does not target `socketserver:handler/stream-handler@0.1.0`"), "{said}");
    assert!(said.contains("exports nothing"), "{said}");
    let renamed = FIXTURE.text().replace("stream-request@0.1.0", "stream-request@0.2.0");
    let said = refused("handler.wat", renamed.as_bytes(), &[]);
    assert!(said.contains("`socketserver:handler/stream-request@0.2.0`"), "{said}");
}

#[test]
fn a_component_without_finish_is_refused() {
    let text = FIXTURE.text().replace(
        "(export \"finish\" (func $finish) (func (result (result (error string))))))",
        ")",
    );
    let said = refused("handler.wat", text.as_bytes(), &[]);
    assert!(said.contains("has no function `finish`"), "{said}");
}

#[test]
fn an_import_that_is_not_provided_is_refused_by_name() {
    let import = "(component $handler-component (import \"wasi:nn/graph@0.2.0\" (instance)) (import \"wasi:http/types@0.2.0\" (instance))";
    let text = FIXTURE.text().replace("(component $handler-component", import);
    let said = refused("handler.wat", text.as_bytes(), &[]);
    assert!(
        said.contains("imports `wasi:nn/graph@0.2.0`, which the host does not provide"),
        "{said}"
    );
    assert!(said.contains("nor 1 others"), "{said}");
}

#[test]
fn a_component_for_another_version_of_the_contract_is_refused() {
    let text = FIXTURE.text().replace("\"bufsize\" u32", "\"bufsize\" u64").replace(
        "(param $bufsize i32)\n      (call $host_recv (global.get $request) (local.get $bufsize)",
        "(param $bufsize i32)\n      (call $host_recv (global.get $request) (i64.extend_i32_u (local.get $bufsize))",
    );
    let text = text
        .replace("(func $host_recv (param i32 i32 i32))", "(func $host_recv (param i32 i64 i32))");
    let said = refused("handler.wat", text.as_bytes(), &[]);
    assert!(said.contains("was built against another version of the contract"), "{said}");
}

#[test]
fn an_initial_memory_beyond_the_limit_is_refused() {
    let text = Fixture { memory: "100", ..FIXTURE }.text();
    let said = refused("handler.wat", text.as_bytes(), &["--memory", "6MiB"]);
    assert!(said.contains("bytes of memory to begin with (6553600 in its memories, "), "{said}");
    assert!(said.contains("and may have 6291456: `--memory` allows more"), "{said}");
}

#[test]
fn a_component_whose_start_function_fails_is_refused() {
    for (start, why) in
        [("unreachable", "unreachable"), ("(loop $again (br $again))", "CPU time of 50ms")]
    {
        let fields = format!("(func $start {start}) (start $start)");
        let text = Fixture { fields: &fields, ..FIXTURE }.text();
        let said = refused("handler.wat", text.as_bytes(), &["--cpu-time", "50ms"]);
        assert!(said.contains("cannot be instantiated") && said.contains(why), "{said}");
    }
}

#[test]
fn a_file_that_does_not_exist_is_refused() {
    let output = host().args(["serve", "no/such/file.wasm"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = one_line(&output);
    assert!(
        said.contains("cannot serve `no/such/file.wasm`: cannot read it: No such file"),
        "{said}"
    );
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
}

#[test]
fn inspect_agrees_with_serve() {
    let output =
        host().arg("inspect").arg(build::guest("rust", "upper").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("world     socketserver:handler/stream-handler@0.1.0"), "{text}");
    assert!(text.ends_with("serve     yes\n"), "{text}");

    let import = "(component $handler-component (import \"wasi:http/types@0.2.0\" (instance))";
    let file = File::new(
        "h.wat",
        FIXTURE.text().replace("(component $handler-component", import).as_bytes(),
    );
    let output = host().arg("inspect").arg(&file.path).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["servable"], false);
    assert_eq!(report["worlds"][0], "socketserver:handler/stream-handler@0.1.0");
    assert_eq!(report["exports"][0], "socketserver:handler/stream-request@0.1.0");
    assert_eq!(report["imports"][0]["name"], "wasi:http/types@0.2.0");
    assert_eq!(report["imports"][0]["provided"], false);
    assert_eq!(report["imports"][1]["provided"], true);
    assert_eq!(report["initial_memory"], 65536);
    assert!(report["why_not"].as_str().unwrap().contains("wasi:http/types"), "{report}");
}

#[test]
fn handlers_in_rust_and_c_import_only_the_contract() {
    for language in ["rust", "c"] {
        let output = host()
            .arg("inspect")
            .arg(build::guest(language, "upper").unwrap())
            .arg("--json")
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        for import in report["imports"].as_array().unwrap() {
            let name = import["name"].as_str().unwrap();
            assert!(name.starts_with("socketserver:handler/"), "{language}: {name}");
        }
    }
}

#[test]
fn an_error_of_the_kernel_is_printed_once() {
    let sample = build::guest("rust", "upper").unwrap();
    let missing = "no/such/place";
    let dir = format!("--dir={missing}::/data");
    let sample = &*sample.to_string_lossy();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    for (command, arguments, cause) in [
        ("serve", vec![missing], "os error 2"),
        ("inspect", vec![missing], "os error 2"),
        ("serve", vec![sample, &dir], "os error 2"),
        ("inspect", vec![sample, &dir], "os error 2"),
        ("serve", vec!["--bind", &taken], "os error 98"),
        ("serve", vec!["--bind", "unix:///no/such/place"], "os error 2"),
    ] {
        let output = host().arg(command).args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command} {arguments:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(said.matches(cause).count(), 1, "{command} {arguments:?}: {said}");
    }
}

/// An instance is made a hundred times to measure the time for one. Lines of handlers are half
/// of the thousand that a process may log in a second.
#[test]
fn inspect_limits_the_lines_of_a_start_function() {
    let fields = "(func $chat (local $left i32) (local.set $left (i32.const 3000))
        (loop $again
            (call $host_log (i32.const 3) (i32.const 100) (i32.const 2))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
        (start $chat)";
    let handler = File::new("chats.wat", Fixture { fields, ..FIXTURE }.text().as_bytes());
    let output = host().arg("inspect").arg(&handler.path).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let lines = said.lines().filter(|line| line.contains("handler=\"chats\"")).count();
    // The instances take two seconds at most, and a second may begin in the middle of another.
    assert!((500..=2000).contains(&lines), "{lines} lines");
    assert!(said.contains("lines were not logged"), "the report of dropped lines is missing");
}
