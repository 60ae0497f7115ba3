//! Failures: missing tools, errors of compilers, hostile names, and builds without an end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use socketserver_tests::process::{send_signal, wait_until};
use socketserver_tests::procfs::state;

use super::{Place, fail, names};
use crate::fixture::host;

#[test]
fn a_missing_tool_is_a_sentence_that_says_what_to_install() {
    let place = Place::new();
    for (file, expected) in [
        ("a.rs", "install Rust as https://rustup.rs says"),
        ("a.c", "install python3 and python3-venv: `python3` is not installed"),
        ("a.cpp", "install python3 and python3-venv"),
        ("a.go", "install python3 and python3-venv"),
        ("a.zig", "install python3 and python3-venv"),
        ("a.py", "install python3 and python3-venv"),
        (
            "a.js",
            "Node.js 20 or newer with npm: apt-get install nodejs npm: `npm` is not installed",
        ),
    ] {
        place.write(file, "");
        for command in ["build", "serve"] {
            let mut command = place.command(&[command, file]);
            command.env("PATH", "/nowhere").env("XDG_CACHE_HOME", place.path("cache"));
            let error = fail(command, 1);
            assert!(error.contains(expected), "{file}: {error}");
        }
    }
}

#[test]
fn a_target_that_rust_lacks_is_one_command() {
    let place = Place::new();
    place.tool("rustc", "echo /nowhere");
    place.write("a.rs", "socketserver_guest");
    let mut command = place.command(&["build", "a.rs"]);
    command.env("PATH", place.path("bin"));
    let error = fail(command, 1);
    assert!(error.contains("run `rustup target add wasm32-wasip2`"), "{error}");
}

#[test]
fn the_error_of_a_compiler_is_shown_whole() {
    let place = Place::new();
    place.write("bad.c", "int main(void) {\n\treturn nothing;\n}\n");
    let error = fail(place.command(&["build", "bad.c"]), 1);
    assert!(error.contains("error: use of undeclared identifier 'nothing'"), "{error}");
    assert!(error.contains("bad.c:2:") && error.contains("failed (exit status: 1):\n"), "{error}");
    let error = fail(place.command(&["serve", "bad.c"]), 1);
    assert!(error.contains("'nothing'"), "{error}");
    place.write("bad.js", "export const streamRequest = ;\n");
    let error = fail(place.command(&["build", "bad.js"]), 1);
    assert!(error.contains("bad.js") && error.contains("failed (exit status: "), "{error}");
    if super::rust_has_a_target() {
        place.write("bad.rs", "use socketserver_guest::Nothing;\n");
        let error = fail(place.command(&["build", "bad.rs"]), 1);
        assert!(error.contains("error[E0432]: unresolved import"), "{error}");
    }
    assert!(!place.path("bad.wasm").exists());
}

#[test]
fn the_traceback_of_a_handler_in_python_begins_with_its_own_file() {
    let place = Place::new();
    place.write("bad.py", "import other\nStreamRequest = other.make()\n");
    place.write("other.py", "def make():\n    raise ValueError('as asked')\n");
    let error = fail(place.command(&["build", "bad.py"]), 1);
    // Some installations of the tool mark the expression.
    let is_mark = |line: &&str| line.trim().chars().all(|c| c == '~' || c == '^');
    let lines = error.lines().filter(|line| line.is_empty() || !is_mark(line));
    let error: String = lines.flat_map(|line| [line, "\n"]).collect();
    let expected = r#"Traceback (most recent call last):
  File "/0/bad.py", line 2, in <module>
    StreamRequest = other.make()
  File "/0/other.py", line 2, in make
    raise ValueError('as asked')
ValueError: as asked
"#;
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains("_wasm_socketserver"), "{error}");
    place.write("bare.py", "import socketserver_guest\n# StreamRequest\n");
    let error = fail(place.command(&["build", "bare.py"]), 1);
    assert!(error.contains("module 'bare' has no attribute 'StreamRequest'"), "{error}");
}

#[test]
fn a_source_that_is_none_is_an_error() {
    let place = Place::new();
    place.write("empty/README.md", "");
    place.write("text.txt", "");
    place.write("no.js", "export const other = 1;\n");
    place.write("many/a.py", "import socketserver\n");
    place.write("many/b.py", "");
    for (arguments, expected) in [
        (["build", "none.c"], "cannot build `none.c`: No such file"),
        (["build", "none"], "cannot build `none`: No such file"),
        (["build", "empty"], "there is no source of a handler in"),
        (["serve", "empty"], "there is no source of a handler in"),
        (["build", "text.txt"], "is no source file that is known"),
        (["build", "no.js"], "exports neither `streamRequest` nor `datagramRequest`"),
        (["serve", "many"], "several files: name the one with the handler, a.py or b.py"),
    ] {
        let error = fail(place.command(&arguments), 1);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    place.write("a.c", "int main(void) {}\n");
    let error = fail(place.command(&["build", "a.c", "--env", "A=1"]), 1);
    assert!(error.contains("are for Python programs"), "{error}");
}

#[test]
fn new_writes_into_nothing_but_a_new_folder() {
    let place = Place::new();
    place.write("full/x", "");
    std::os::unix::fs::symlink("/tmp", place.path("link")).unwrap();
    for (name, expected) in [
        ("..", "is no name of a project"),
        ("../x", "is no name of a project"),
        ("/tmp/x", "is no name of a project"),
        ("full", "not empty"),
        ("link", "is no folder"),
    ] {
        let error = fail(place.command(&["new", "c", name]), 1);
        assert!(error.contains(expected), "{name}: {error}");
    }
    assert_eq!(names(&place.path("")), ["full", "link"]);
    // Not even root can write in this folder.
    let mut command = host();
    command.args(["new", "c", "x"]).current_dir("/proc");
    let error = fail(command, 1);
    assert!(error.contains("cannot create `./x`"), "{error}");
    let error = fail(place.command(&["new", "cobol", "x"]), 2);
    assert!(error.contains("javascript"), "{error}");
    assert_eq!(names(&place.path("")), ["full", "link"]);
}

impl Place {
    /// Writes a script in the place of a tool.
    fn tool(&self, name: &str, script: &str) {
        let name = format!("bin/{name}");
        self.write(&name, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path(&name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_tool_that_prints_without_end_is_bounded() {
    let place = Place::new();
    place.tool(
        "zig",
        "echo begins\nhead -c 100000000 /dev/zero | tr '\\0' x\necho\necho ends\nexit 3",
    );
    place.write("a.zig", "");
    let mut command = place.command(&["build", "a.zig"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", place.path("bin").display()));
    let error = fail(command, 1);
    assert!(error.contains("failed (exit status: 3):\nbegins\n"), "{}", &error[..1000]);
    assert!(error.contains(" bytes are left out here ...") && error.trim_end().ends_with("ends"));
    assert!(error.len() < 300_000, "{}", error.len());
}

#[test]
fn a_signal_ends_a_build_and_all_its_programs() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let place = Place::new();
        let script = "trap '' INT TERM\nsleep 1000 &\necho $! $$ > \"$PIDS.new\"\nmv \"$PIDS.new\" \"$PIDS\"\nwait";
        place.tool("zig", script);
        place.write("a.zig", "");
        let mut command = place.command(&["build", "a.zig"]);
        command.env("PATH", format!("{}:/usr/bin:/bin", place.path("bin").display()));
        command.env("PIDS", place.path("pids")).stderr(Stdio::null());
        let mut build = command.spawn().unwrap();
        wait_until("the tool runs", || place.path("pids").exists());
        let pids = fs::read_to_string(place.path("pids")).unwrap();
        send_signal(build.id(), signal).unwrap();
        assert_eq!(build.wait().unwrap().code(), Some(code));
        for pid in pids.split_whitespace() {
            let pid = pid.parse().unwrap();
            // An ended process whose parent does not wait for it is a zombie.
            wait_until("the programs end", || state(pid).map_or(true, |state| state == 'Z'));
        }
        assert!(!place.path("a.wasm").exists());
    }
}
