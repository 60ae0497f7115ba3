//! Files that mean harm before a single request: each costs its own start, with a
//! sentence that says why, and nothing of it is left.

use std::fmt::Write;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use socketserver_tests::build;
use socketserver_tests::process::Server;

use crate::client::ask;
use crate::fixture::{FIXTURE, File, Fixture, host, serve};

fn inspect(path: &Path, options: &[&str]) -> Output {
    host().arg("inspect").arg(path).arg("--no-cache").args(options).output().unwrap()
}

/// What is said of a file that cannot be loaded: one line.
fn refused(path: &Path, options: &[&str]) -> String {
    let output = inspect(path, options);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let begin = format!("wasm-socketserver: cannot inspect `{}`: ", path.display());
    assert!(said.starts_with(&begin) && said.lines().count() == 1, "{said}");
    said[begin.len()..].trim_end().to_owned()
}

fn refused_bytes(content: &[u8], options: &[&str]) -> String {
    refused(&File::new("hostile.wasm", content).path, options)
}

/// The host, whatever the file: it can be served, or there is one sentence.
fn survives(content: &[u8]) {
    let file = File::new("hostile.wasm", content);
    let output = inspect(&file.path, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?} {said}", output.status);
    assert!(said.lines().count() <= 1 && !said.contains("panicked"), "{said}");
}

fn rust_upper() -> Vec<u8> {
    fs::read(build::guest("rust", "upper").unwrap()).unwrap()
}

#[test]
fn a_component_cut_anywhere_is_refused() {
    let whole = rust_upper();
    for part in 0..40 {
        let length = whole.len() * part / 40;
        let output = inspect(&File::new("cut.wasm", &whole[..length]).path, &[]);
        assert_eq!(output.status.code(), Some(1), "{length}");
    }
}

#[test]
fn a_bit_flipped_anywhere_never_crashes_the_host() {
    let whole = rust_upper();
    // Numbers that look random and are always the same: Knuth's generator.
    let mut state = 48_u64;
    for _ in 0..100 {
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
    assert!(inspect(&upper, &["--component-size", &size.to_string()]).status.success());
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
fn a_component_that_imports_everything_is_told_of_the_first() {
    let mut text = "(component".to_owned();
    for n in 0..5000 {
        write!(text, "(import \"evil:all/things{n}\" (instance))").unwrap();
    }
    let file = File::new("imports.wat", (text + ")").as_bytes());
    let output = inspect(&file.path, &[]);
    assert_eq!(output.status.code(), Some(1));
}

/// The entry of a cache that has one, with the handler that it was made from.
fn entry_of(cache: &Path, handler: &Path) -> PathBuf {
    let directory = cache.join("wasm-socketserver");
    let names = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&directory).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let before = names();
    compiles(cache, handler);
    names().into_iter().find(|name| !before.contains(name)).unwrap()
}

/// Whether a handler is compiled, or taken from the cache; it is served in any
/// case.
fn compiles(cache: &Path, handler: &Path) -> bool {
    let mut command = serve();
    command.arg(handler).args(["--log-level", "debug"]).env("XDG_CACHE_HOME", cache);
    let mut server = Server::start(&mut command, 1).unwrap();
    assert_eq!(ask(&server, b"-"), b"ok");
    server.stop().unwrap();
    server.log().iter().any(|line| line.contains("compiling a handler"))
}

#[test]
fn forged_entries_of_the_cache_are_not_used() {
    let cache = tempfile::tempdir().unwrap();
    let (cache, elsewhere) = (cache.path(), cache.path().join("elsewhere"));
    let handler = |fields| File::new("entry.wat", Fixture { fields, ..FIXTURE }.text().as_bytes());
    let (one, other) = (handler("(func $one)"), handler("(func $other)"));
    let entry = entry_of(cache, &one.path);
    let of_other = entry_of(cache, &other.path);
    assert!(!compiles(cache, &one.path));
    let whole = fs::read(&entry).unwrap();

    // Damage: made anew.
    fs::write(&entry, &whole[..whole.len() - 1]).unwrap();
    assert!(compiles(cache, &one.path));
    assert_eq!(fs::read(&entry).unwrap(), whole);

    // What others could have made: never used, and left for people to look at.
    fs::rename(&entry, &elsewhere).unwrap();
    symlink(&elsewhere, &entry).unwrap();
    assert!(compiles(cache, &one.path));
    fs::remove_file(&entry).unwrap();
    fs::rename(&elsewhere, &entry).unwrap();
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o620)).unwrap();
    assert!(compiles(cache, &one.path));
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o600)).unwrap();
    // Only root can give files away.
    if chown(&entry, Some(12345), None).is_ok() {
        assert!(compiles(cache, &one.path));
        chown(&entry, Some(0), None).unwrap();
    }
    assert!(!compiles(cache, &one.path));
    assert!(of_other.exists());
}

#[test]
fn profiles_do_not_share_code_and_explicit_options_win() {
    let cache = tempfile::tempdir().unwrap();
    let handler = File::new("entry.wat", FIXTURE.text().as_bytes());
    let compiles = |options: &[&str]| {
        let mut command = serve();
        command.arg(&handler.path).args(["--log-level", "debug"]).args(options);
        let mut server = Server::start(command.env("XDG_CACHE_HOME", cache.path()), 1).unwrap();
        assert_eq!(ask(&server, b"-"), b"ok");
        server.stop().unwrap();
        server.log().iter().any(|line| line.contains("compiling a handler"))
    };
    assert!(compiles(&["--profile", "standard"]));
    assert!(compiles(&["--profile", "hostile"]));
    assert!(!compiles(&["--profile", "hostile"]));
    assert!(!compiles(&[]));

    // 16 MiB by the profile, whatever the option says.
    let large = Fixture { memory: "400", ..FIXTURE };
    let large = File::new("large.wat", large.text().as_bytes());
    let start = |options: &[&str]| Server::start(serve().arg(&large.path).args(options), 1);
    let error = start(&["--profile", "hostile"]).err().unwrap().to_string();
    assert!(
        error.contains("26214400 bytes of memory to begin with, and may have 16777216"),
        "{error}"
    );
    let server = start(&["--profile", "hostile", "--memory", "32MiB"]).unwrap();
    assert_eq!(ask(&server, b"-"), b"ok");
    start(&[]).unwrap();
}

#[test]
fn a_memory_with_explicit_checks_ends_where_it_ends() {
    for (access, reason) in [
        ("(drop (i32.load (i32.const 65532)))", None),
        ("(drop (i32.load (i32.add (global.get $request) (i32.const 65533))))", Some("trap")),
        ("(drop (i32.load offset=4294967295 (global.get $request)))", Some("trap")),
    ] {
        for mode in ["threading", "forking"] {
            let fixture = Fixture { handle: access, ..FIXTURE };
            let options = ["--profile", "hostile", "--jail", "off", "--concurrency", mode];
            let mut served = fixture.serve(&options);
            ask(&served.server, b"x");
            if let Some(reason) = reason {
                let line = served.server.wait_for_log("Exception occurred").unwrap();
                assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
            }
            assert_eq!(ask(&served.server, b"-"), b"ok");
        }
    }
}

#[test]
fn a_stack_is_as_large_as_the_option_says() {
    // 10,000 frames, each with a return address, a frame pointer and a value: more
    // than 64 KiB, less than 1 MiB.
    let fields = "(func $down (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (local.get 0)))";
    let handle = "(drop (call $down (i32.const 10000)))";
    let fixture = Fixture { handle, fields, ..FIXTURE };
    let mut small = fixture.serve(&["--stack", "64KiB"]);
    ask(&small.server, b"x");
    let line = small.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains("reason=\"stack\"") && line.contains("blame=\"guest\""), "{line}");
    assert_eq!(ask(&small.server, b"-"), b"ok");
    let mut large = fixture.serve(&["--stack", "1MiB"]);
    ask(&large.server, b"x");
    assert_eq!(ask(&large.server, b"-"), b"ok");
    large.server.stop().unwrap();
    assert!(!large.server.log().iter().any(|line| line.contains("Exception")));

    let endless =
        Fixture { handle: "(call $on)", fields: "(func $on (call $on) (call $on))", ..FIXTURE };
    for mode in ["sync", "threading", "forking"] {
        let mut served = endless.serve(&["--stack", "1MiB", "--concurrency", mode]);
        ask(&served.server, b"x");
        let line = served.server.wait_for_log("Exception occurred").unwrap();
        assert!(line.contains("reason=\"stack\""), "{mode}: {line}");
    }
}
