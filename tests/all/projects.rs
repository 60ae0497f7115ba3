//! Handlers outside of the repository: `new`, `build`, and `serve` of a source.

mod failures;
mod kept;
mod manifests;
mod names;
mod net;
mod packages;
mod types;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use socketserver_tests::build;
use socketserver_tests::process::Server;
use tempfile::TempDir;

use crate::client::ask;
use crate::fixture::host;
use crate::python_layout::check_faults;

/// A folder outside of the repository, in which commands run.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a command of the binary in this folder. `PATH` begins with the tools that
    /// `cargo guests` has installed.
    fn command(&self, arguments: &[&str]) -> Command {
        let guests = build::guest_folder();
        let tools = ["venv/bin", "node/node_modules/.bin"].map(|folder| guests.join(folder));
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(tools.into_iter().chain(env::split_paths(&path))).unwrap();
        let mut command = host();
        command.args(arguments).current_dir(self.folder.path()).env("PATH", path);
        // The compiled libraries of the languages.
        command.env("GOCACHE", guests.join("gocache"));
        command.env("ZIG_GLOBAL_CACHE_DIR", guests.join("zig"));
        command.env("ZIG_LOCAL_CACHE_DIR", guests.join("zig"));
        command
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a project, builds it, and runs its test, which serves it.
    fn check(&self, language: &str, options: &[&str]) {
        let name = format!("my-{}", language.trim_end_matches('+'));
        succeed(self.command(&[&["new", language, &name], options].concat()));
        let component = format!("{name}.wasm");
        let built = succeed(self.command(&["build", &name]));
        assert!(built.contains(&format!("{component}: ")), "{built}");
        assert!(self.path(&component).is_file());
        let mut test = self.command(&[]);
        let binary = test.get_program().to_owned();
        let environment: Vec<_> = test
            .get_envs()
            .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
            .collect();
        test = Command::new("python3");
        test.arg("test.py").current_dir(self.path(&name)).envs(environment);
        succeed(test.env("WASM_SOCKETSERVER", binary));
    }
}

/// Runs a command, fails if it fails, and returns what it wrote to standard error.
fn succeed(mut command: impl std::borrow::BorrowMut<Command>) -> String {
    let Output { status, stderr, .. } = command.borrow_mut().output().unwrap();
    let text = String::from_utf8_lossy(&stderr).into_owned();
    assert!(status.success(), "{:?}: {text}", command.borrow_mut());
    text
}

/// Runs a command that fails, and returns its error.
fn fail(mut command: Command, code: i32) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(code), "{text}");
    text
}

/// Returns true if Rust can build for WebAssembly without Debian's packages.
fn rust_has_a_target() -> bool {
    ["wasm32-wasip2", "wasm32-unknown-unknown"].iter().any(|target| {
        let output =
            Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
        let library = PathBuf::from(String::from_utf8(output.unwrap().stdout).unwrap().trim());
        fs::read_dir(library).is_ok_and(|mut files| files.next().is_some())
    })
}

#[test]
fn a_new_project_in_rust_is_built_and_served() {
    if rust_has_a_target() {
        Place::new().check("rust", &[]);
        Place::new().check("rust", &["--datagram"]);
    } else {
        // The sentence is the same as for an installation that is simulated.
        eprintln!("skipped: rustup has no target for WebAssembly");
    }
}

#[test]
fn a_new_project_in_c_is_built_and_served() {
    Place::new().check("c", &[]);
    Place::new().check("c", &["--datagram"]);
}

#[test]
fn a_new_project_in_cpp_is_built_and_served() {
    Place::new().check("cpp", &[]);
    Place::new().check("c++", &["--datagram"]);
}

#[test]
fn a_new_project_in_go_is_built_and_served() {
    Place::new().check("go", &[]);
    Place::new().check("golang", &["--datagram"]);
}

#[test]
fn a_new_project_in_javascript_is_built_and_served() {
    Place::new().check("javascript", &[]);
    Place::new().check("js", &["--datagram"]);
}

#[test]
fn a_new_project_in_typescript_is_built_and_served() {
    Place::new().check("typescript", &[]);
    Place::new().check("ts", &["--datagram"]);
}

#[test]
fn a_new_project_in_zig_is_built_and_served() {
    Place::new().check("zig", &[]);
    Place::new().check("zig", &["--datagram"]);
}

#[test]
fn a_new_project_in_python_is_built_and_served() {
    Place::new().check("python", &[]);
    Place::new().check("python", &["--datagram"]);
}

/// Builds a file, serves its component, and returns the answer to a request.
fn answer_of_file(place: &Place, name: &str, request: &[u8]) -> String {
    succeed(place.command(&["build", name, "-o", "built.wasm"]));
    // It compiles the component, which takes long for Python. `Server::start` has a limit.
    succeed(place.command(&["inspect", "built.wasm"]));
    let mut command = place.command(&["serve", "built.wasm", "--bind", "tcp://127.0.0.1:0"]);
    let server = Server::start(&mut command, 1).unwrap();
    String::from_utf8(ask(&server, request)).unwrap()
}

#[test]
fn a_file_alone_is_a_handler_or_a_program() {
    let place = Place::new();
    let sample = |name: &str| fs::read_to_string(build::root().join("guests").join(name)).unwrap();
    for (sample_name, name) in [
        ("upper/upper.c", "upper.c"),
        ("upper/upper.js", "upper.js"),
        ("upper/upper.py", "upper.py"),
        ("upper/upper.wat", "upper.wat"),
    ] {
        place.write(name, &sample(sample_name));
        assert_eq!(answer_of_file(&place, name, b" hello "), "HELLO", "{name}");
    }
    place.write("upper.go", &sample("upper/upper.go"));
    assert_eq!(answer_of_file(&place, "upper.go", b" hello "), "HELLO");
    place.write("program.go", "package main\nfunc main() { print(\"\"); println(\"log\") }\n");
    assert_eq!(answer_of_file(&place, "program.go", b""), "");
    place.write("program.c", "#include <stdio.h>\nint main(void) { puts(\"from C\"); }\n");
    assert_eq!(answer_of_file(&place, "program.c", b""), "from C\n");
    place.write("program.cpp", "#include <cstdio>\nint main() { puts(\"from C++\"); }\n");
    assert_eq!(answer_of_file(&place, "program.cpp", b""), "from C++\n");
    if rust_has_a_target() {
        place.write("upper.rs", &sample("upper/upper.rs"));
        assert_eq!(answer_of_file(&place, "upper.rs", b" hello "), "HELLO");
    }
}

#[test]
fn a_build_lays_out_the_memory_of_a_handler_in_python() {
    let place = Place::new();
    let sample = fs::read_to_string(build::root().join("guests/upper/upper.py")).unwrap();
    place.write("upper.py", &sample);
    assert_eq!(answer_of_file(&place, "upper.py", b" hello "), "HELLO");
    check_faults(&place.path("built.wasm"));
}

#[test]
fn a_handler_may_have_several_files() {
    let place = Place::new();
    place
        .write("many/a.c", "#include <stdio.h>\n#include \"b.h\"\nint main(void) { puts(b()); }\n");
    place.write("many/b.h", "const char *b(void);\n");
    place.write(
        "many/src/b.c",
        "#include \"../b.h\"\nconst char *b(void) { return \"two files\"; }\n",
    );
    assert_eq!(answer_of_file(&place, "many", b""), "two files\n");
    let sample = fs::read_to_string(build::root().join("guests/upper/upper.js")).unwrap();
    let (handler, strip) = sample.split_once("\nfunction strip").unwrap();
    place.write("parts/package.json", r#"{"main": "lib/handler.js"}"#);
    place.write(
        "parts/lib/handler.js",
        &format!("import {{ strip }} from './strip.js';\n{handler}"),
    );
    let space = "const isSpace = (byte) => byte === 0x20;";
    place.write("parts/lib/strip.js", &format!("{space}\nexport function strip{strip}"));
    assert_eq!(answer_of_file(&place, "parts", b" hello "), "HELLO");
}

#[test]
fn a_package_in_go_may_stand_below_its_module() {
    let place = Place::new();
    place.write("module/go.mod", "module example.com/many\n\ngo 1.25\n");
    place.write("module/text/text.go", "package text\n\nconst Space = \" \\t\\r\\n\"\n");
    let handler = fs::read_to_string(build::root().join("guests/upper/upper.go")).unwrap();
    let handler = handler
        .replace("\"bytes\"\n", "\"bytes\"\n\t\"example.com/many/text\"\n")
        .replace(r#"" \t\n\v\f\r""#, "text.Space");
    place.write("module/cmd/handler/main.go", &handler);
    assert_eq!(answer_of_file(&place, "module/cmd/handler", b" hello "), "HELLO");
}

#[test]
fn serve_builds_a_source_first_and_again_after_an_edit() {
    let place = Place::new();
    for answer in ["first", "second"] {
        place.write(
            "program.c",
            &format!("#include <stdio.h>\nint main(void) {{ puts(\"{answer}\"); }}\n"),
        );
        let mut command = place.command(&["serve", "program.c", "--bind", "tcp://127.0.0.1:0"]);
        let server = Server::start(&mut command, 1).unwrap();
        assert_eq!(ask(&server, b""), format!("{answer}\n").as_bytes());
    }
    assert!(!place.path("program.wasm").exists());
}

/// Returns the names of the files in a folder and its subfolders.
fn names(folder: &Path) -> Vec<String> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    all.sort();
    all
}

#[test]
fn new_without_a_language_lists_the_languages() {
    let output = host().arg("new").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for language in ["rust", "go", "c ", "cpp", "javascript", "typescript", "python", "zig"] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(language)), "{text}");
    }
}
