//! Builds that are kept until what they were made from changes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use socketserver_tests::build;
use socketserver_tests::process::Server;

use super::{Place, fail, succeed};
use crate::client::ask;

/// The languages whose builds are kept: the tool, the handler, and a module that it could import.
const LANGUAGES: [[&str; 3]; 3] = [
    ["componentize-qjs", "handler.js", "lib/other.js"],
    ["componentize-py", "handler.py", "lib/other.py"],
    ["zig", "main.zig", "lib/other.zig"],
];

/// Counts its builds in the file `builds`, and makes a handler in Rust of any source. Fails if
/// there is a file `broken`.
const TOOL: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then exec "$REAL" --version; fi
echo built >> "$PLACE/builds"
if [ -e "$PLACE/broken" ]; then echo it is broken; exit 3; fi
for argument; do
    case $before in --output) output=$argument ;; esac
    case $argument in -femit-bin=*) output=${argument#*=} ;; esac
    before=$argument
done
case $0 in */componentize-py)
    # The list of objects that the SDK writes.
    : > "$VIRTUAL_ENV/lib/site-packages/_wasm_socketserver/objects" ;;
esac
cp "$COMPONENT" "$output"
"#;

/// A project whose compiler is [`TOOL`].
struct Project {
    place: Place,
    tool: &'static str,
    handler: &'static str,
}

impl Project {
    fn new([tool, handler, _]: [&'static str; 3]) -> Project {
        let project = Project { place: Place::new(), tool, handler };
        let place = &project.place;
        place.write("bin/tool", TOOL);
        fs::set_permissions(place.path("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(place.path("bin/tool"), place.path("bin").join(tool)).unwrap();
        // A package of npm has its version in its manifest.
        let manifest = "node/node_modules/componentize-qjs/package.json";
        let manifest = fs::read_to_string(build::guest_folder().join(manifest)).unwrap();
        place.write("bin/package.json", &manifest);
        project.edit(handler, "");
        project
    }

    fn path(&self) -> PathBuf {
        self.place.path("project")
    }

    /// Writes a file of the project.
    fn edit(&self, name: &str, text: &str) {
        let text = match name {
            name if name != self.handler => text.to_owned(),
            _ if self.tool == "componentize-py" => {
                format!("import socketserver_guest\nStreamRequest = None\n{text}")
            }
            _ => format!("export const streamRequest = {{}};\n{text}"),
        };
        self.place.write(&format!("project/{name}"), &text);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        let path = command.get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap();
        let path = format!("{}:{}", self.place.path("bin").display(), path.to_str().unwrap());
        command.env("PATH", path).env("XDG_CACHE_HOME", self.place.path("cache"));
        command.env("PLACE", self.place.path(""));
        command.env("REAL", build::guest_folder().join("venv/bin").join(self.tool));
        command.env("COMPONENT", build::guest("rust", "upper").unwrap());
        command
    }

    /// Builds the project, and returns the number of its builds by now.
    fn build(&self, options: &[&str]) -> usize {
        succeed(self.command(&[&["build", "project"], options].concat()));
        self.builds()
    }

    fn builds(&self) -> usize {
        fs::read_to_string(self.place.path("builds")).unwrap().lines().count()
    }

    /// Fails to build the project.
    fn fail(&self) {
        let error = fail(self.command(&["build", "project"]), 1);
        assert!(error.contains("it is broken"), "{error}");
    }
}

#[test]
fn a_second_start_builds_nothing_and_an_edit_builds_again() {
    for language in LANGUAGES {
        let [_, handler, other] = language;
        let project = Project::new(language);
        assert_eq!(project.build(&[]), 1, "{language:?}");
        assert_eq!(project.build(&[]), 1, "{language:?}");
        for _ in 0..2 {
            let mut serve = project.command(&["serve", "project", "--bind", "tcp://127.0.0.1:0"]);
            let server = Server::start(&mut serve, 1).unwrap();
            assert_eq!(ask(&server, b" hello "), b"HELLO", "{language:?}");
        }
        assert_eq!(project.builds(), 1, "{language:?}");
        let comment = if handler.ends_with("py") { "#" } else { "//" };
        let edits = [(handler, "edited"), (other, "new"), (other, "old"), ("data.json", "3")];
        for (number, (file, text)) in (2..).zip(edits) {
            project.edit(file, &format!("{comment} {text}"));
            assert_eq!(project.build(&[]), number, "{language:?} {file}");
            assert_eq!(project.build(&[]), number, "{language:?} {file}");
        }
        fs::remove_file(project.place.path("project/data.json")).unwrap();
        assert_eq!(project.build(&[]), 6, "{language:?}");
        assert_eq!(project.build(&["--no-cache"]), 7, "{language:?}");
        assert_eq!(project.build(&[]), 7, "{language:?}");
    }
}

#[test]
fn a_file_that_is_no_source_does_not_build_again() {
    for language in LANGUAGES {
        let [tool, handler, _] = language;
        let project = Project::new(language);
        // The component stands in the folder of the project itself.
        let here = || succeed(project.command(&["build", "."]).current_dir(project.path()));
        let output = project.place.path("project/out.wasm");
        for _ in 0..2 {
            here();
            project.build(&["-o", output.to_str().unwrap()]);
        }
        let mut written = vec!["server.log", "logs/a.log", "node_modules/a/index.js", ".hidden"];
        if tool == "componentize-qjs" {
            written.extend(["package-lock.json", "README.md", "test.py", "lib/notes.txt"]);
        }
        for file in written {
            for text in ["once", "and again"] {
                project.place.write(&format!("project/{file}"), text);
                let mut serve =
                    project.command(&["serve", "project", "--bind", "tcp://127.0.0.1:0"]);
                let server = Server::start(&mut serve, 1).unwrap();
                assert_eq!(ask(&server, b" hello "), b"HELLO", "{language:?} {file}");
                assert_eq!(project.builds(), 1, "{language:?} {file}");
            }
        }
        let comment = if handler.ends_with("py") { "#" } else { "//" };
        project.edit(handler, comment);
        assert_eq!(project.build(&[]), 2, "{language:?}");
    }
}

#[test]
fn a_build_that_failed_leaves_nothing() {
    for language in LANGUAGES {
        let project = Project::new(language);
        project.place.write("broken", "");
        project.fail();
        project.fail();
        assert_eq!(project.builds(), 2, "{language:?}");
        fs::remove_file(project.place.path("broken")).unwrap();
        assert_eq!(project.build(&[]), 3, "{language:?}");
        project.edit(project.handler, "\n");
        project.place.write("broken", "");
        project.fail();
        project.fail();
        assert_eq!(project.builds(), 5, "{language:?}");
        // The last build that did not fail is still that of the same files.
        project.edit(project.handler, "");
        assert_eq!(project.build(&[]), 5, "{language:?}");
    }
}

#[test]
fn of_two_builds_at_the_same_time_one_takes_the_result_of_the_other() {
    for language in LANGUAGES {
        let project = Project::new(language);
        let builds: Vec<_> = ["a.wasm", "b.wasm", "c.wasm"]
            .iter()
            .map(|output| {
                let mut build = project.command(&["build", "project", "-o", output]);
                build.stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        for mut build in builds {
            assert!(build.wait().unwrap().success(), "{language:?}");
        }
        assert_eq!(project.builds(), 1, "{language:?}");
    }
}

#[test]
fn a_component_that_is_not_what_was_built_is_built_again() {
    for language in LANGUAGES {
        let project = Project::new(language);
        assert_eq!(project.build(&[]), 1, "{language:?}");
        let builds = project.place.path("cache/wasm-socketserver/builds");
        let build = fs::read_dir(builds).unwrap().next().unwrap().unwrap().path();
        for name in ["project.wasm", "build.json"] {
            fs::write(build.join(name), "{}").unwrap();
            succeed(project.command(&["build", "project"]));
            let component = fs::read(build.join("project.wasm")).unwrap();
            assert!(component.starts_with(b"\0asm"), "{language:?} {name}");
        }
        assert_eq!(project.builds(), 3, "{language:?}");
        // The copy of the files is gone.
        assert!(!build.join("copy").exists(), "{language:?}");
    }
}

/// The handler of Python's documentation, at an address of its own.
const SERVER: &str = r#"import socketserver

class MyTCPHandler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(self.request.recv(1024).strip().upper())

if __name__ == "__main__":
    with socketserver.TCPServer(("127.0.0.7", 0), MyTCPHandler) as server:
        server.serve_forever()
"#;

#[test]
fn serve_of_a_program_for_cpython_does_what_run_does() {
    let place = Place::new();
    place.write("project/server.py", SERVER);
    place.write("project/other.py", "");
    succeed(place.command(&["build", "project"]));
    succeed(place.command(&["inspect", "project.wasm"]));
    for path in ["project", "project/server.py"] {
        // The build is that of before, which `Server::start` does not wait for.
        let server = Server::start(&mut place.command(&["serve", path]), 1).unwrap();
        assert!(server.endpoints()[0].starts_with("tcp://127.0.0.7:"), "{:?}", server.endpoints());
        assert_eq!(ask(&server, b" hello "), b"HELLO", "{path}");
    }
    let mut command = place.command(&["serve", "project", "--bind", "tcp://127.0.0.8:0"]);
    let server = Server::start(&mut command, 1).unwrap();
    assert!(server.endpoints()[0].starts_with("tcp://127.0.0.8:"), "{:?}", server.endpoints());
}
