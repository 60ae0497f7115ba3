//! The cache of builds, the tool, and their errors. The tool is in none of these places: CPython
//! is prepared already, so that programs are built without it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::PoisonError;

use socketserver_tests::build;
use tempfile::TempDir;

use super::{BUILDING, file};
use crate::fixture::host;

/// A program that reads `module.py`, and `none` if it is there.
const PROGRAM: &str = r#"
import os, socketserver
import module

class Upper(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(self.request.recv(99).upper())

print("hello\x1b")
try:
    open("none").close()
except FileNotFoundError:
    pass
socketserver.TCPServer(("127.0.0.1", 0), Upper).serve_forever()
"#;

struct Setup {
    folder: TempDir,
}

impl Setup {
    fn new() -> Setup {
        let setup = Setup { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(setup.path("program")).unwrap();
        setup.write("server.py", PROGRAM);
        setup.write("module.py", "first = 1");
        setup
    }

    /// With CPython prepared, and a program without modules compiled.
    fn prepared() -> Setup {
        let setup = Setup::new();
        let building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, to) = ("target/tests-cache/wasm-socketserver", setup.path("cache"));
        fs::create_dir(&to).unwrap();
        // A build that is in the cache needs no prepared CPython, which other tests may have
        // driven out of it. Then another program is built, which is in no cache.
        let is_copied = (0..3).any(|attempt| {
            let program = setup.path("any.py");
            let mut text = fs::read_to_string(file("documented.py")).unwrap();
            if attempt > 0 {
                text = format!("{text}# {} {attempt}\n", program.display());
            }
            fs::write(&program, text).unwrap();
            let mut command = host();
            command.arg("build").arg(&program).arg("--output").arg(setup.path("any.wasm"));
            let built = command.output().unwrap();
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
            let copy = Command::new("sh")
                .args(["-c", r#"mkdir -p -m 700 "$1/wasm-socketserver" && cp -a "$0"/snapshot-* "$0"/functions-* "$0"/python-base "$1/wasm-socketserver""#])
                .arg(build::root().join(from))
                .arg(&to)
                .status();
            copy.unwrap().success()
        });
        assert!(is_copied);
        drop(building);
        setup
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path("program").join(name), content).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = host();
        command.args(arguments).arg(self.path("program/server.py"));
        command.current_dir(self.folder.path());
        command.env("XDG_CACHE_HOME", self.path("cache")).env("PATH", "/nowhere");
        command
    }

    fn build(&self) -> Output {
        self.command(&["build"]).output().unwrap()
    }
}

fn error_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_program_is_built_again_when_a_file_that_it_read_has_changed() {
    let setup = Setup::prepared();
    let steps: [(&dyn Fn(), bool); 6] = [
        (&|| {}, true),
        (&|| setup.write("unread.py", "new"), false),
        (&|| setup.write("module.py", "second = 2"), true),
        (&|| setup.write("none", "it is there now"), true),
        (&|| setup.write("server.py", &format!("# changed\n{PROGRAM}")), true),
        (&|| {}, false),
    ];
    for (number, (change, is_built)) in steps.into_iter().enumerate() {
        change();
        let built = setup.build();
        let text = String::from_utf8(built.stderr).unwrap();
        assert!(built.status.success(), "{text}");
        assert_eq!(text.contains("building "), is_built, "{number}: {text}");
        assert_eq!(text.contains("server.py printed: hello\\u{1b}\n"), is_built, "{text}");
        let server =
            "server.wasm: TCPServer with Upper, on tcp://127.0.0.1:0; requests run one at a time";
        assert!(text.contains(server), "{text}");
    }
    let anew = setup.command(&["build", "--no-cache"]).output().unwrap();
    assert!(String::from_utf8_lossy(&anew.stderr).contains("building "));
}

#[test]
fn run_serves_a_component_of_build_as_its_program_says() {
    let setup = Setup::prepared();
    assert!(setup.build().status.success());
    let mut command = host();
    command.arg("run").arg(setup.path("server.wasm"));
    let server = socketserver_tests::process::Server::start(&mut command, 1).unwrap();
    assert_eq!(crate::client::ask(&server, b"hello"), b"HELLO");
    // A component without a program.
    let other = build::guest("rust", "upper").unwrap();
    let error = error_of(&host().arg("run").arg(other).output().unwrap());
    assert!(error.contains("neither a Python file nor made from one: use `serve"), "{error}");
}

#[test]
fn a_program_that_was_edited_is_served_without_compiling() {
    let setup = Setup::prepared();
    for edit in ["# edited", "# edited again\nmore = [str(number) for number in range(50_000)]"] {
        setup.write("server.py", &format!("{edit}\n{PROGRAM}"));
        let mut command = setup.command(&["run", "--log-level", "debug"]);
        let mut server = socketserver_tests::process::Server::start(&mut command, 1).unwrap();
        assert_eq!(crate::client::ask(&server, b"hello"), b"HELLO");
        server.stop().unwrap();
        let log = server.log();
        assert!(!log.iter().any(|line| line.contains("compiling a handler")), "{log:?}");
    }
}

#[test]
fn errors_of_a_build_are_shown() {
    let setup = Setup::prepared();
    let cases = [
        ("print(1)", "it ended without a server"),
        ("raise ValueError('a\x1b')", "ValueError: a"),
        // The program ends its instance.
        ("import os\nos.abort()", "wasm trap"),
    ];
    for (program, expected) in cases {
        setup.write("server.py", program);
        let error = error_of(&setup.build());
        assert!(error.contains("cannot build `") && error.contains(expected), "{error}");
        assert!(!error.contains('\x1b'), "{error}");
    }
    // Nothing is left of builds that failed.
    let rooms = setup.path("cache/wasm-socketserver/rooms");
    assert_eq!(fs::read_dir(rooms).unwrap().count(), 0);
    let error = error_of(&host().args(["build", "none.py"]).output().unwrap());
    assert!(error.contains("cannot build `none.py`: No such file"), "{error}");
}

#[test]
fn a_program_cannot_change_the_library_of_later_programs() {
    let setup = Setup::prepared();
    let change = "open('/python/this.py', 'a').write('changed')";
    setup.write("server.py", change);
    let error = error_of(&setup.build());
    assert!(error.contains("Error: [Errno"), "{error}");
}

#[test]
fn a_missing_tool_is_one_line_that_says_what_to_install() {
    let setup = Setup::new();
    fs::create_dir(setup.path("cache")).unwrap();
    let output = setup.build();
    let error = error_of(&output);
    assert!(
        error.contains("install python3 and python3-venv: `python3` is not installed"),
        "{error}"
    );
}
