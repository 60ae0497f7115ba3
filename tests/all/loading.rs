//! Hostile files. Loading one fails with one sentence that says why, and leaves neither a
//! process nor a file behind.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpgrp, kill_process, test_kill_process_group};
use socketserver_sandbox::read_component;
use socketserver_tests::build;
use socketserver_tests::process::{Server, wait_for_child, wait_until};
use socketserver_tests::procfs::{children, state, status};

use crate::client::ask;
use crate::fixture::{FIXTURE, File, Fixture, Served, host, serve};
use crate::jail::{has_etc_open, is_available, wait_until_jailed, with_etc_open};

/// Runs `inspect`, and returns its output and the number of entries in its cache. Checks that
/// it leaves no process and no temporary file.
fn inspect(path: &Path, options: &[&str]) -> (Output, usize) {
    let (cache, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = inspect_command(path, options);
    command.env("XDG_CACHE_HOME", cache.path()).env("TMPDIR", temporary.path());
    let child = command.spawn().unwrap();
    let group = Pid::from_child(&child);
    let output = child.wait_with_output().unwrap();
    // The process was the first of its group, so that no other process is left in it.
    assert_eq!(test_kill_process_group(group), Err(Errno::SRCH), "{output:?}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    let entries = fs::read_dir(cache.path().join("wasm-socketserver")).unwrap();
    let entries: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    // A file that is not complete would have another name.
    assert!(entries.iter().all(|name| name.len() == 64), "{entries:?}");
    (output, entries.len())
}

/// Returns a command that runs `inspect` in a process group of its own.
fn inspect_command(path: &Path, options: &[&str]) -> Command {
    let mut command = host();
    command.arg("inspect").arg(path).args(options).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns the error of `inspect` for a file that it cannot load, which has one line.
fn refused(path: &Path, options: &[&str]) -> String {
    let (output, entries) = inspect(path, options);
    assert_eq!((output.status.code(), entries), (Some(1), 0), "{output:?}");
    error(output, &format!("cannot inspect `{}`: ", path.display()))
}

/// Returns the error of `serve` for a component that it cannot serve, which has one line.
fn refused_by_serve(text: &str) -> String {
    let file = File::new("hostile.wat", text.as_bytes());
    let output = serve().arg(&file.path).arg("--no-cache").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    error(output, &format!("cannot serve `{}`: ", file.path.display()))
}

/// Returns the error in `output` without `prefix`.
fn error(output: Output, prefix: &str) -> String {
    let text = String::from_utf8(output.stderr).unwrap();
    let prefix = format!("wasm-socketserver: {prefix}");
    assert!(text.starts_with(&prefix) && text.lines().count() == 1, "{text}");
    text[prefix.len()..].trim_end().to_owned()
}

fn refused_bytes(content: &[u8], options: &[&str]) -> String {
    refused(&File::new("hostile.wasm", content).path, options)
}

/// Checks that the host serves this file, or refuses it with an error of one line.
fn check_host_survives(content: &[u8]) {
    let file = File::new("hostile.wasm", content);
    let (output, _) = inspect(&file.path, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?} {said}", output.status);
    assert!(said.lines().count() <= 1 && !said.contains("panicked"), "{said}");
    if output.status.success() {
        // Requests of the handler may fail, but the server must not.
        let mut command = serve();
        command.arg(&file.path).args(["--no-cache", "--cpu-time", "1s", "--idle-timeout", "1s"]);
        let mut server = Server::start(&mut command, 1).unwrap();
        for _ in 0..2 {
            ask(&server, b"anything");
        }
        assert!(server.stop().unwrap().success());
    }
}

fn rust_upper() -> Vec<u8> {
    fs::read(build::guest("rust", "upper").unwrap()).unwrap()
}

#[test]
fn a_component_cut_anywhere_is_refused() {
    let whole = rust_upper();
    for part in 0..40 {
        let length = whole.len() * part / 40;
        let (output, entries) = inspect(&File::new("cut.wasm", &whole[..length]).path, &[]);
        assert_eq!((output.status.code(), entries > 1), (Some(1), false), "{length}");
    }
}

#[test]
fn a_bit_flipped_anywhere_never_crashes_the_host() {
    let whole = rust_upper();
    // Knuth's generator: pseudo-random numbers that are the same in each run.
    let mut state = 48_u64;
    for _ in 0..200 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let bit = usize::try_from(state >> 33).unwrap() % (whole.len() * 8);
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        check_host_survives(&flipped);
    }
}

#[test]
fn files_that_are_too_large_or_not_regular_are_refused_unread() {
    let sparse = File::new("sparse.wasm", b"");
    OpenOptions::new().write(true).open(&sparse.path).unwrap().set_len((256 << 20) + 1).unwrap();
    let said = refused(&sparse.path, &[]);
    assert!(said.contains("268435457 bytes, and a handler may have 268435456"), "{said}");

    let upper = build::guest("rust", "upper").unwrap();
    let size = rust_upper().len() as u64;
    assert!(read_component(&upper, size).is_ok());
    let error = read_component(&upper, size - 1).unwrap_err().to_string();
    assert!(
        error.contains(&format!("{size} bytes, and a handler may have {}", size - 1)),
        "{error}"
    );

    let fifo = sparse.path.with_extension("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for path in [Path::new("/dev/zero"), &fifo] {
        assert!(refused(path, &[]).contains("it is not a regular file"));
    }
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |begin: &str, middle: &str, end: &str, depth: usize| {
        refused_bytes(
            format!("{}{middle}{}", begin.repeat(depth), end.repeat(depth)).as_bytes(),
            &["--compile-time", "20s"],
        )
    };
    nested("(component ", "", ")", 50_000);
    nested("(", "", ")", 500_000);
    let blocks = format!(
        "(component (core module (func {} {})))",
        "block ".repeat(100_000),
        "end ".repeat(100_000)
    );
    check_host_survives(blocks.as_bytes());
}

/// Returns a component with functions that take the compiler much time.
fn slow_to_compile(functions: usize, instructions: usize) -> String {
    let body =
        "(local.set 0 (i32.add (local.get 0) (i32.load (i32.mul (local.get 0) (local.get 1)))))\n"
            .repeat(instructions);
    let function = format!("(func (param i32 i32) {body})\n");
    format!("(component (core module (memory 1) {}))", function.repeat(functions))
}

#[test]
fn a_compiler_that_takes_too_long_is_ended() {
    let said = refused_bytes(slow_to_compile(2000, 500).as_bytes(), &["--compile-time", "1s"]);
    assert_eq!(said, "compiling it takes more than 1s of CPU time: `--compile-time` allows more");
}

#[test]
fn a_compiler_that_takes_too_much_memory_is_ended() {
    let said =
        refused_bytes(slow_to_compile(1, 400_000).as_bytes(), &["--compile-memory", "256MiB"]);
    assert_eq!(
        said,
        "compiling it takes more than 256 MiB of memory: `--compile-memory` allows more"
    );
}

#[test]
fn a_compiler_has_no_more_than_the_inherited_limits() {
    let limited = |limit: &str, path: &Path| {
        let mut command = Command::new("sh");
        let host = host();
        command.args(["-c", "ulimit $0 && exec \"$@\"", limit]).arg(host.get_program());
        command.args(["inspect", "--no-cache", "--compile-memory", "32GiB"]).arg(path);
        command.output().unwrap()
    };
    let handler = File::new("small.wat", FIXTURE.text().as_bytes());
    // In seconds, of which a compiler may use 60, and in KiB: some 15 GiB.
    for limit in ["-t 50", "-v 16000000"] {
        let output = limited(limit, &handler.path);
        assert!(output.status.success(), "{limit} {output:?}");
    }
    let hostile = File::new("hostile.wat", slow_to_compile(2000, 500).as_bytes());
    let output = limited("-t 2", &hostile.path);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("compiling it takes more than"), "{said}");
}

#[test]
fn a_compiler_that_hangs_is_ended() {
    let file = File::new("hostile.wat", slow_to_compile(2000, 500).as_bytes());
    let mut child =
        inspect_command(&file.path, &["--no-cache", "--compile-time", "1s"]).spawn().unwrap();
    let group = Pid::from_child(&child);
    let compiler = wait_for_compiler(&mut child);
    kill_process(compiler, Signal::STOP).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let prefix = format!("cannot inspect `{}`: ", file.path.display());
    assert_eq!(
        error(output, &prefix),
        "compiling it takes longer than 10s, ten times its CPU time: `--compile-time` allows more"
    );
    assert_eq!(test_kill_process_group(group), Err(Errno::SRCH));
}

#[test]
fn a_signal_ends_the_server_while_its_compiler_hangs() {
    let file = File::new("hostile.wat", slow_to_compile(2000, 500).as_bytes());
    let mut command = serve();
    command.arg(&file.path).args(["--no-cache", "--compile-time", "1h"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let compiler = wait_for_compiler(&mut child);
    kill_process(compiler, Signal::STOP).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    wait_until("the server ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn a_compiler_does_not_outlive_its_parent() {
    let file = File::new("hostile.wat", slow_to_compile(2000, 500).as_bytes());
    let mut command = inspect_command(&file.path, &["--no-cache", "--compile-time", "1h"]);
    // The group is the test's: of an orphaned group the kernel itself would end a stopped
    // process.
    let mut child = command.process_group(getpgrp().as_raw_nonzero().get()).spawn().unwrap();
    let compiler = wait_for_compiler(&mut child);
    // A stopped compiler does not end by itself.
    kill_process(compiler, Signal::STOP).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // Where no other process waits for the compiler, it stays a zombie.
    let compiler = compiler.as_raw_nonzero().get().cast_unsigned();
    wait_until("the compiler ends", || matches!(state(compiler), Err(_) | Ok('Z')));
}

#[test]
fn a_compiler_is_jailed() {
    if !is_available() {
        return;
    }
    let file = File::new("hostile.wat", slow_to_compile(2000, 500).as_bytes());
    let mut child = with_etc_open(&inspect_command(&file.path, &["--no-cache"]));
    let mut child = child.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let compiler = wait_for_compiler(&mut child).as_raw_nonzero().get().cast_unsigned();
    wait_until_jailed(compiler);
    assert_ne!(has_etc_open(compiler), Some(true));
    assert_eq!(status(compiler, "CapEff").unwrap(), "0000000000000000");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Waits until `program` has a process that compiles and has set its own limits.
fn wait_for_compiler(program: &mut Child) -> Pid {
    let is_limited = |pid| status(pid, "NoNewPrivs").is_ok_and(|value| value == "1");
    let compiler = wait_for_child(program, is_limited).unwrap();
    Pid::from_raw(compiler.cast_signed()).unwrap()
}

#[test]
fn loading_leaves_no_process_file_or_descriptor_in_a_server() {
    let (cache, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = serve();
    command.arg(build::guest("rust", "upper").unwrap());
    command.env("XDG_CACHE_HOME", cache.path()).env("TMPDIR", temporary.path());
    let server = Server::start(&mut command, 1).unwrap();
    let pid = server.pid();
    assert_eq!(children(pid).unwrap(), [0; 0]);
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(cache.path().join("wasm-socketserver")).unwrap().count(), 1);
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let file = fs::read_link(descriptor.unwrap().path()).unwrap_or_default();
        assert!(!file.to_string_lossy().contains("memfd:component"), "{file:?}");
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_is_read_only_up_to_the_limit() {
    // A file of `/proc` has no size, and more data than the limit.
    let error = read_component(Path::new("/proc/self/maps"), 1000).unwrap_err().to_string();
    assert!(error.starts_with("it has 1001 bytes, and a handler may have 1000"), "{error}");

    // The header alone would be a valid component: at every length the file must be invalid.
    let begin = [&b"\0asm\x0d\0\x01\0"[..], &[0xff; 4096]].concat();
    let file = File::new("grows.wasm", &begin);
    let (done, started) = (AtomicBool::new(false), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut grows = OpenOptions::new().append(true).open(&file.path).unwrap();
            started.wait();
            while !done.load(SeqCst) && grows.metadata().unwrap().len() < 256 << 20 {
                grows.write_all(&[0xff; 4096]).unwrap();
            }
        });
        started.wait();
        for _ in 0..5 {
            let error = read_component(&file.path, 1 << 20).err().map(|error| error.to_string());
            assert!(error.is_none_or(|error| error.contains("a handler may have 1048576")));
        }
        done.store(true, SeqCst);
    });
}

/// The count of each section is the largest number that its encoding can express.
#[test]
fn false_counts_of_sections_are_refused() {
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    let section = |kind: u8, content: &[u8]| {
        [&[kind, u8::try_from(content.len()).unwrap()], content].concat()
    };
    let with_false_count = |kind| section(kind, b"\xff\xff\xff\xff\x0f");
    // Core types, components' instances, aliases, types, functions, exports.
    for kind in [3, 5, 6, 7, 8, 11] {
        let said = refused_bytes(&[COMPONENT, &with_false_count(kind)].concat(), &[]);
        assert!(said.starts_with("it is not a valid component: "), "{kind}: {said}");
    }
    // Types, imports, functions, tables, memories, globals, exports, elements, code, data.
    for kind in [1, 2, 3, 4, 5, 6, 7, 9, 10, 11] {
        let module = section(1, &[MODULE, &with_false_count(kind)].concat());
        let said = refused_bytes(&[COMPONENT, &module].concat(), &[]);
        assert!(said.starts_with("it is not a valid component: "), "{kind}: {said}");
    }
}

fn many(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect()
}

#[test]
fn components_with_thousands_of_items_are_served_or_refused() {
    let said =
        refused_by_serve(&format!("(component {})", many(5000, |_| "(type (func))".to_owned())));
    assert!(said.contains("it exports nothing"), "{said}");
    let exports = many(5000, |n| format!("(export \"e{n}\" (type $t))"));
    let said = refused_by_serve(&format!("(component (type $t u32) {exports})"));
    assert!(said.contains("`e7` and 4992 more"), "{said}");
    let instances = many(5000, |_| "(core instance (instantiate $m))".to_owned());
    check_host_survives(format!("(component (core module $m) {instances})").as_bytes());
    let memories = many(5000, |_| "(memory 1)".to_owned());
    check_host_survives(format!("(component (core module {memories}))").as_bytes());

    let fields = many(20_000, |_| "(func)".to_owned());
    let served = Fixture { fields: &fields, ..FIXTURE }.serve(&["--no-cache"]);
    assert_eq!(ask(&served.server, b"-"), b"ok");
}

#[test]
fn the_error_for_many_imports_names_the_first() {
    let things = |count| many(count, |n| format!("(import \"evil:all/things{n}\" (instance))"));
    let begin = "(component $handler-component";
    let with = |count| FIXTURE.text().replacen(begin, &(begin.to_owned() + &things(count)), 1);
    assert_eq!(
        refused_by_serve(&with(900)),
        "it imports `evil:all/things0`, which the host does not provide (nor 899 others): no option adds it"
    );
    assert!(refused_by_serve(&with(5000)).contains("instances count exceeds limit of 1000"));
}

/// All of WASI 0.2, in the order of its worlds.
const WASI: [&str; 30] = [
    "cli/environment",
    "cli/exit",
    "io/error",
    "io/poll",
    "io/streams",
    "cli/stdin",
    "cli/stdout",
    "cli/stderr",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "cli/terminal-stderr",
    "clocks/monotonic-clock",
    "clocks/wall-clock",
    "filesystem/types",
    "filesystem/preopens",
    "sockets/network",
    "sockets/instance-network",
    "sockets/udp",
    "sockets/udp-create-socket",
    "sockets/tcp",
    "sockets/tcp-create-socket",
    "sockets/ip-name-lookup",
    "random/random",
    "random/insecure",
    "random/insecure-seed",
    "http/types",
    "http/incoming-handler",
    "http/outgoing-handler",
];

#[test]
fn the_error_for_all_of_wasi_names_the_first_import_that_is_not_provided() {
    let imports = |names: &[&str]| -> String {
        let begin = "(component $handler-component".to_owned();
        let import = |name: &&str| format!("(import \"wasi:{name}@0.2.0\" (instance))");
        begin + &names.iter().map(import).collect::<String>()
    };
    let text = FIXTURE.text();
    let with = |names| text.replacen("(component $handler-component", &imports(names), 1);
    let said = refused_by_serve(&with(&WASI));
    assert_eq!(
        said,
        "it imports `wasi:http/types@0.2.0`, which the host does not provide (nor 2 others): no option adds it"
    );
    let provided: Vec<_> = WASI.into_iter().filter(|name| !name.starts_with("http")).collect();
    let served = Served::start(&with(&provided), &["tcp://127.0.0.1:0"], &[]);
    assert_eq!(ask(&served.server, b"-"), b"ok");
}
