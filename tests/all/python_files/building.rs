//! The cache of builds, the tool, and their errors. A program in the place of the tool makes
//! these tests quick.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use socketserver_tests::build;
use tempfile::TempDir;

use crate::fixture::host;

/// A tool that makes a component of no use, and says that the program read `module.py`.
const TOOL: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo componentize-py 0.25.1; exit; fi
while [ $# -gt 0 ]; do
    case $1 in
        --output) output=$2 ;;
        --python-path) case $2 in */1) support=$2 ;; */0) folder=$2 ;; esac ;;
    esac
    shift
done
echo ran >> "$RUNS"
[ ! -e "$folder/fail" ] || { echo "it is broken"; exit 7; }
cp "$COMPONENT" "$output"
cat "$folder/report" > "$support/report.json"
: > "$support/objects"
"#;

const REPORT: &str = r#"{"error": null, "output": ["hello\u001b"], "files": ["/0/module.py", "/0/none"],
    "servers": [{"kind": "stream", "class": "S", "handler": "H", "bind": "BIND",
    "concurrency": "sync", "attributes": {}, "ignored": []}]}"#;

struct Setup {
    folder: TempDir,
}

impl Setup {
    fn new() -> Setup {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup { folder };
        fs::create_dir(setup.path("bin")).unwrap();
        fs::create_dir(setup.path("program")).unwrap();
        let tool = setup.path("bin/componentize-py");
        fs::write(&tool, TOOL).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        setup.write("server.py", "");
        setup.write("module.py", "first");
        setup.write("report", &REPORT.replace("BIND", "tcp://127.0.0.1:0"));
        setup
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path("program").join(name), content).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = host();
        command.args(arguments).arg(self.path("program/server.py"));
        command.current_dir(self.folder.path());
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command.env("RUNS", self.path("runs"));
        command.env("COMPONENT", build::guest("rust", "upper").unwrap());
        command
    }

    fn build(&self) -> Output {
        self.command(&["build"]).output().unwrap()
    }

    /// Returns the number of times that the tool has run.
    fn runs(&self) -> usize {
        fs::read_to_string(self.path("runs")).unwrap_or_default().lines().count()
    }
}

fn error_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_program_is_built_again_when_a_file_that_it_read_has_changed() {
    let setup = Setup::new();
    let built = setup.build();
    let text = String::from_utf8(built.stderr.clone()).unwrap();
    assert!(built.status.success(), "{text}");
    assert!(text.contains("server.py printed: hello\\u{1b}\n"), "{text}");
    assert!(
        text.contains("server.wasm: S with H, on tcp://127.0.0.1:0; requests run one at a time")
    );
    assert!(setup.path("server.wasm").exists());
    assert_eq!(setup.runs(), 1);
    let steps: [(&dyn Fn(), usize); 6] = [
        (&|| {}, 1),
        (&|| setup.write("unread.py", "new"), 1),
        (&|| setup.write("module.py", "second"), 2),
        (&|| setup.write("none", "it is there now"), 3),
        (&|| setup.write("server.py", "# changed"), 4),
        (&|| assert!(setup.command(&["build", "--no-cache"]).status().unwrap().success()), 5),
    ];
    for (change, runs) in steps {
        change();
        assert!(setup.build().status.success());
        assert_eq!(setup.runs(), runs);
    }
}

#[test]
fn run_serves_a_component_of_build_as_its_program_says() {
    let setup = Setup::new();
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
fn errors_of_a_build_are_shown() {
    let setup = Setup::new();
    let cases = [
        (
            r#"{"error": "no server\nbut this", "output": [], "files": [], "servers": []}"#,
            "no server\nbut this",
        ),
        (&REPORT.replace("BIND", "tcp://\\u001b"), "`S` cannot be bound"),
        (&REPORT.replace("BIND", "udp://127.0.0.1:1"), "not at an address for its requests"),
        ("", "EOF while parsing"),
    ];
    for (report, expected) in cases {
        setup.write("report", report);
        let error = error_of(&setup.build());
        assert!(error.contains("cannot build `") && error.contains(expected), "{error}");
        assert!(!error.contains('\x1b'), "{error}");
    }
    setup.write("fail", "");
    let error = error_of(&setup.build());
    assert!(error.contains("failed (exit status: 7):\nit is broken"), "{error}");
    // Nothing is left of builds that failed.
    let rooms = setup.path("cache/wasm-socketserver/rooms");
    assert_eq!(fs::read_dir(rooms).unwrap().count(), 0);
    let error = error_of(&host().args(["build", "none.py"]).output().unwrap());
    assert!(error.contains("cannot build `none.py`: No such file"), "{error}");
}

#[test]
fn a_missing_tool_is_one_line_that_says_what_to_install() {
    let setup = Setup::new();
    let output = setup.command(&["build"]).env("PATH", Path::new("/nowhere")).output().unwrap();
    let error = error_of(&output);
    assert!(
        error.contains("install python3 and python3-venv: `python3` is not installed"),
        "{error}"
    );
}
