//! Files that mean harm before a single request: each costs its own start, with a
//! sentence that says why, and nothing of it is left.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpgrp, kill_process, test_kill_process_group};
use socketserver_tests::build;
use socketserver_tests::process::{PATIENCE, Server};

use crate::client::ask;
use crate::fixture::{FIXTURE, File, Fixture, Served, host, serve};
use crate::jail::{can_be_had, holds_it, status, wait_until_in_it, with_a_descriptor};

/// What `inspect` says, and how many entries it leaves in its cache; nothing else
/// of it is left, no process and no file.
fn inspect(path: &Path, options: &[&str]) -> (Output, usize) {
    let (cache, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = inspecting(path, options);
    command.env("XDG_CACHE_HOME", cache.path()).env("TMPDIR", temporary.path());
    let child = command.spawn().unwrap();
    let group = Pid::from_child(&child);
    let output = child.wait_with_output().unwrap();
    // It was the first of its group, and has been waited for.
    assert_eq!(test_kill_process_group(group), Err(Errno::SRCH), "{output:?}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    let entries = fs::read_dir(cache.path().join("wasm-socketserver")).unwrap();
    let entries: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    // What is written and not yet whole has another name.
    assert!(entries.iter().all(|name| name.len() == 64), "{entries:?}");
    (output, entries.len())
}

/// `inspect` in a group of processes of its own.
fn inspecting(path: &Path, options: &[&str]) -> Command {
    let mut command = host();
    command.arg("inspect").arg(path).args(options).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What is said of a file that cannot be loaded: one line.
fn refused(path: &Path, options: &[&str]) -> String {
    let (output, entries) = inspect(path, options);
    assert_eq!((output.status.code(), entries), (Some(1), 0), "{output:?}");
    said(output, &format!("cannot inspect `{}`: ", path.display()))
}

/// What is said of a component that cannot be served: one line.
fn not_served(text: &str) -> String {
    let file = File::new("hostile.wat", text.as_bytes());
    let output = serve().arg(&file.path).arg("--no-cache").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    said(output, &format!("cannot serve `{}`: ", file.path.display()))
}

fn said(output: Output, begin: &str) -> String {
    let said = String::from_utf8(output.stderr).unwrap();
    let begin = format!("wasm-socketserver: {begin}");
    assert!(said.starts_with(&begin) && said.lines().count() == 1, "{said}");
    said[begin.len()..].trim_end().to_owned()
}

fn refused_bytes(content: &[u8], options: &[&str]) -> String {
    refused(&File::new("hostile.wasm", content).path, options)
}

/// The host, whatever the file: it can be served, or there is one sentence.
fn survives(content: &[u8]) {
    let file = File::new("hostile.wasm", content);
    let (output, _) = inspect(&file.path, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?} {said}", output.status);
    assert!(said.lines().count() <= 1 && !said.contains("panicked"), "{said}");
    if output.status.success() {
        // Whatever it does now, it does to its own requests.
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
    // Numbers that look random and are always the same: Knuth's generator.
    let mut state = 48_u64;
    for _ in 0..200 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let bit = usize::try_from(state >> 33).unwrap() % (whole.len() * 8);
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        survives(&flipped);
    }
}

#[test]
fn files_that_are_too_large_or_no_files_are_refused_unread() {
    let sparse = File::new("sparse.wasm", b"");
    OpenOptions::new().write(true).open(&sparse.path).unwrap().set_len((256 << 20) + 1).unwrap();
    let said = refused(&sparse.path, &[]);
    assert!(said.contains("268435457 bytes; a handler has 268435456 at the most"), "{said}");

    let size = rust_upper().len();
    let upper = build::guest("rust", "upper").unwrap();
    let (output, entries) = inspect(&upper, &["--component-size", &size.to_string()]);
    assert!(output.status.success() && entries == 1, "{output:?}");
    let said = refused(&upper, &["--component-size", &(size - 1).to_string()]);
    assert!(said.contains("`--component-size` allows more"), "{said}");

    let fifo = sparse.path.with_extension("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for path in [Path::new("/dev/zero"), &fifo] {
        assert!(refused(path, &[]).contains("it is not a regular file"));
    }
}

#[test]
fn nesting_of_every_kind_is_refused() {
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
    survives(blocks.as_bytes());
}

/// As many functions as that, each with work for the compiler.
fn work(functions: usize, instructions: usize) -> String {
    let body =
        "(local.set 0 (i32.add (local.get 0) (i32.load (i32.mul (local.get 0) (local.get 1)))))\n"
            .repeat(instructions);
    let function = format!("(func (param i32 i32) {body})\n");
    format!("(component (core module (memory 1) {}))", function.repeat(functions))
}

#[test]
fn a_compiler_that_takes_too_long_is_ended() {
    let said = refused_bytes(work(2000, 500).as_bytes(), &["--compile-time", "1s"]);
    assert_eq!(said, "compiling it takes more than 1s of CPU time: `--compile-time` allows more");
}

#[test]
fn a_compiler_that_takes_too_much_memory_is_ended() {
    let said = refused_bytes(work(1, 400_000).as_bytes(), &["--compile-memory", "256MiB"]);
    assert_eq!(
        said,
        "compiling it takes more than 256 MiB of memory: `--compile-memory` allows more"
    );
}

#[test]
fn a_compiler_has_no_more_than_whoever_started_the_host_allows() {
    let limited = |limit: &str, path: &Path| {
        let mut command = Command::new("sh");
        let host = host();
        command.args(["-c", "ulimit $0 && exec \"$@\"", limit]).arg(host.get_program());
        command.args(["inspect", "--no-cache", "--compile-memory", "32GiB"]).arg(path);
        command.output().unwrap()
    };
    let handler = File::new("small.wat", FIXTURE.text().as_bytes());
    // In seconds, of which a compiler may have 60, and in KiB: some 15 GiB.
    for limit in ["-t 50", "-v 16000000"] {
        let output = limited(limit, &handler.path);
        assert!(output.status.success(), "{limit} {output:?}");
    }
    let hostile = File::new("hostile.wat", work(2000, 500).as_bytes());
    let output = limited("-t 2", &hostile.path);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("compiling it takes more than"), "{said}");
}

#[test]
fn a_compiler_that_hangs_is_ended() {
    let file = File::new("hostile.wat", work(2000, 500).as_bytes());
    let child = inspecting(&file.path, &["--no-cache", "--compile-time", "1s"]).spawn().unwrap();
    let group = Pid::from_child(&child);
    let compiler = compiler_of(child.id());
    kill_process(compiler, Signal::STOP).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let begin = format!("cannot inspect `{}`: ", file.path.display());
    assert_eq!(
        said(output, &begin),
        "compiling it takes longer than 10s, ten times its CPU time: `--compile-time` allows more"
    );
    assert_eq!(test_kill_process_group(group), Err(Errno::SRCH));
}

#[test]
fn a_compiler_that_hangs_does_not_keep_a_signal_from_ending_the_server() {
    let file = File::new("hostile.wat", work(2000, 500).as_bytes());
    let mut command = serve();
    command.arg(&file.path).args(["--no-cache", "--compile-time", "1h"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let compiler = compiler_of(child.id());
    kill_process(compiler, Signal::STOP).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert_eq!(status.code(), Some(143), "{status}");
}

#[test]
fn a_compiler_does_not_outlive_who_asked_for_it() {
    let file = File::new("hostile.wat", work(2000, 500).as_bytes());
    let mut command = inspecting(&file.path, &["--no-cache", "--compile-time", "1h"]);
    // In a group that loses its last parent, the kernel ends what is stopped.
    let mut child = command.process_group(getpgrp().as_raw_nonzero().get()).spawn().unwrap();
    let compiler = compiler_of(child.id());
    // By itself it does not end now.
    kill_process(compiler, Signal::STOP).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // Somebody has to wait for it; where nobody does, it stays a zombie.
    let begun = Instant::now();
    while !matches!(state(compiler), None | Some('Z')) {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_compiler_is_in_the_jail() {
    if !can_be_had() {
        return;
    }
    let file = File::new("hostile.wat", work(2000, 500).as_bytes());
    let mut child = with_a_descriptor(&inspecting(&file.path, &["--no-cache"]));
    let mut child = child.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let compiler = compiler_of(child.id()).to_string();
    wait_until_in_it(&compiler);
    assert_ne!(holds_it(&compiler), Some(true));
    assert_eq!(status(&compiler, "CapEff"), "0000000000000000");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The process that compiles for another, once it has its limits.
fn compiler_of(pid: u32) -> Pid {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE);
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        if let Ok(child) = children.trim().parse::<i32>() {
            let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
            if status.contains("NoNewPrivs:\t1") {
                return Pid::from_raw(child).unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The letter that the kernel has for what a process does.
fn state(pid: Pid) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("State:\t")?.chars().next())
}

#[test]
fn nothing_of_loading_is_left_beside_a_server() {
    let (cache, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = serve();
    command.arg(build::guest("rust", "upper").unwrap());
    command.env("XDG_CACHE_HOME", cache.path()).env("TMPDIR", temporary.path());
    let server = Server::start(&mut command, 1).unwrap();
    let pid = server.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    assert_eq!(children, "");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(cache.path().join("wasm-socketserver")).unwrap().count(), 1);
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let is = fs::read_link(descriptor.unwrap().path()).unwrap_or_default();
        assert!(!is.to_string_lossy().contains("memfd:component"), "{is:?}");
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_is_read_no_further_than_it_may_be() {
    // It says that it is empty.
    let said = refused(Path::new("/proc/self/maps"), &["--component-size", "1000"]);
    assert!(said.starts_with("it has 1001 bytes; a handler has 1000 at the most"), "{said}");

    let file = File::new("grows.wasm", b"\0asm\x0d\0\x01\0");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut grows = OpenOptions::new().append(true).open(&file.path).unwrap();
            while !done.load(SeqCst) && grows.metadata().unwrap().len() < 256 << 20 {
                grows.write_all(&[0xff; 4096]).unwrap();
            }
        });
        for _ in 0..5 {
            refused(&file.path, &["--component-size", "1MiB"]);
        }
        done.store(true, SeqCst);
    });
}

/// Sections that say that they have as many entries as can be said.
#[test]
fn counts_that_are_lies_are_refused() {
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    let section = |kind: u8, content: &[u8]| {
        [&[kind, u8::try_from(content.len()).unwrap()], content].concat()
    };
    let lie = |kind| section(kind, b"\xff\xff\xff\xff\x0f");
    // Core types, components' instances, aliases, types, functions, exports.
    for kind in [3, 5, 6, 7, 8, 11] {
        let said = refused_bytes(&[COMPONENT, &lie(kind)].concat(), &[]);
        assert!(said.starts_with("it is not a valid component: "), "{kind}: {said}");
    }
    // Types, imports, functions, tables, memories, globals, exports, elements, code, data.
    for kind in [1, 2, 3, 4, 5, 6, 7, 9, 10, 11] {
        let module = section(1, &[MODULE, &lie(kind)].concat());
        let said = refused_bytes(&[COMPONENT, &module].concat(), &[]);
        assert!(said.starts_with("it is not a valid component: "), "{kind}: {said}");
    }
}

fn many(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect()
}

#[test]
fn thousands_of_everything_are_served_or_refused() {
    let said = not_served(&format!("(component {})", many(5000, |_| "(type (func))".to_owned())));
    assert!(said.contains("it exports nothing"), "{said}");
    let exports = many(5000, |n| format!("(export \"e{n}\" (type $t))"));
    let said = not_served(&format!("(component (type $t u32) {exports})"));
    assert!(said.contains("`e7` and 4992 more"), "{said}");
    let instances = many(5000, |_| "(core instance (instantiate $m))".to_owned());
    survives(format!("(component (core module $m) {instances})").as_bytes());
    let memories = many(5000, |_| "(memory 1)".to_owned());
    survives(format!("(component (core module {memories}))").as_bytes());

    let fields = many(20_000, |_| "(func)".to_owned());
    let served = Fixture { fields: &fields, ..FIXTURE }.serve(&["--no-cache"]);
    assert_eq!(ask(&served.server, b"-"), b"ok");
}

#[test]
fn a_component_that_imports_everything_is_told_of_the_first() {
    let things = |count| many(count, |n| format!("(import \"evil:all/things{n}\" (instance))"));
    let begin = "(component $handler-component";
    let with = |count| FIXTURE.text().replacen(begin, &(begin.to_owned() + &things(count)), 1);
    assert_eq!(
        not_served(&with(900)),
        "it imports `evil:all/things0`, which is not granted to it (nor are 899 others): no option grants it"
    );
    assert!(not_served(&with(5000)).contains("instances count exceeds limit of 1000"));
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
fn of_all_of_wasi_the_first_that_is_not_granted_is_named() {
    let imports = |names: &[&str]| -> String {
        let begin = "(component $handler-component".to_owned();
        let import = |name: &&str| format!("(import \"wasi:{name}@0.2.0\" (instance))");
        begin + &names.iter().map(import).collect::<String>()
    };
    let text = FIXTURE.text();
    let with = |names| text.replacen("(component $handler-component", &imports(names), 1);
    let said = not_served(&with(&WASI));
    assert_eq!(
        said,
        "it imports `wasi:sockets/network@0.2.0`, which is not granted to it (nor are 9 others): no option grants it"
    );
    let granted: Vec<_> = WASI
        .into_iter()
        .filter(|name| !name.starts_with("sockets") && !name.starts_with("http"))
        .collect();
    let served = Served::start(&with(&granted), &["tcp://127.0.0.1:0"], &[]);
    assert_eq!(ask(&served.server, b"-"), b"ok");
}
