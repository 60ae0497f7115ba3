//! Handlers made for one test, from `fixtures/handler.wat` for connections and
//! `fixtures/datagram.wat` for datagrams.

use std::path::{Path, PathBuf};
use std::process::Command;

use socketserver_tests::build;
use socketserver_tests::process::Server;
use tempfile::TempDir;

use crate::client::ask;

/// The ways in which requests run.
pub const MODES: [&[&str]; 4] = [
    &["--concurrency", "sync"],
    &["--concurrency", "threading"],
    &["--concurrency", "forking"],
    &["--workers", "2"],
];

/// What a test puts in the places of the fixture. The client asks for it by
/// sending `x`; to any other byte the handler answers `ok`.
#[derive(Clone, Copy)]
pub struct Fixture<'a> {
    /// The text with the places.
    pub template: &'static str,
    /// What the instructions of these functions are. They may leave the
    /// function with a result, or go on to its end, which is success.
    pub setup: &'a str,
    pub handle: &'a str,
    pub finish: &'a str,
    pub realloc: &'a str,
    /// What is run after `handle` has returned, in a handler of connections.
    pub post_return: &'a str,
    /// More fields of the module.
    pub fields: &'a str,
    /// More functions for the module of a handler of connections: what they are,
    /// in the component; how they are imported, in the module; and their names.
    pub component: &'a str,
    pub imports: &'a str,
    pub provides: &'a str,
    /// The size of the memory, in pages.
    pub memory: &'a str,
}

/// A handler of connections.
pub const FIXTURE: Fixture<'static> = Fixture {
    template: include_str!("../fixtures/handler.wat"),
    setup: "",
    handle: "",
    finish: "",
    realloc: "",
    post_return: "",
    fields: "",
    component: "",
    imports: "",
    provides: "",
    memory: "1",
};

/// A handler of connections that can make handles of its own: `$new`.
pub const WITH_HANDLES: Fixture<'static> = Fixture {
    component: "(type $own (resource (rep i32))) (core func $new (canon resource.new $own))",
    imports: "(import \"host\" \"new\" (func $new (param i32) (result i32)))",
    provides: "(export \"new\" (func $new))",
    ..FIXTURE
};

/// A handler of datagrams.
pub const DATAGRAM: Fixture<'static> =
    Fixture { template: include_str!("../fixtures/datagram.wat"), memory: "4", ..FIXTURE };

impl Fixture<'_> {
    /// The text of the component.
    pub fn text(&self) -> String {
        [
            ("{{setup}}", self.setup),
            ("{{handle}}", self.handle),
            ("{{finish}}", self.finish),
            ("{{realloc}}", self.realloc),
            ("{{post_return}}", self.post_return),
            ("{{fields}}", self.fields),
            ("{{component}}", self.component),
            ("{{imports}}", self.imports),
            ("{{provides}}", self.provides),
            ("{{memory}}", self.memory),
        ]
        .iter()
        .fold(self.template.to_owned(), |text, (place, code)| text.replace(place, code))
    }

    /// Serves it with these options beside `--bind tcp://127.0.0.1:0`.
    pub fn serve(&self, options: &[&str]) -> Served {
        self.serve_at(&["tcp://127.0.0.1:0"], options)
    }

    /// Serves it at these places.
    pub fn serve_at(&self, places: &[&str], options: &[&str]) -> Served {
        Served::start(&self.text(), places, options)
    }
}

/// A server, and the file that it serves.
pub struct Served {
    pub server: Server,
    _handler: File,
}

impl Served {
    /// Serves the component of that text at these places.
    pub fn start(text: &str, places: &[&str], options: &[&str]) -> Served {
        let handler = File::new("fixture.wat", text.as_bytes());
        let mut command = host();
        command.arg("serve").arg(&handler.path).args(options);
        command.args(places.iter().flat_map(|place| ["--bind", place]));
        Served { server: Server::start(&mut command, places.len()).unwrap(), _handler: handler }
    }
}

/// A file that is there for as long as this is.
pub struct File {
    pub path: PathBuf,
    _directory: TempDir,
}

impl File {
    pub fn new(name: &str, content: &[u8]) -> File {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        File { path, _directory: directory }
    }
}

/// The real binary with `serve`, on a free port. Everything it keeps goes to
/// `target`, not to the cache of whoever runs the tests.
pub fn serve() -> Command {
    let mut command = host();
    command.args(["serve", "--bind", "tcp://127.0.0.1:0"]);
    command
}

/// Whether a handler is compiled, or taken from that cache; it is served in any
/// case.
pub fn compiles(cache: &Path, handler: &Path, options: &[&str]) -> bool {
    let mut command = serve();
    command.arg(handler).args(["--log-level", "debug"]).args(options);
    let mut server = Server::start(command.env("XDG_CACHE_HOME", cache), 1).unwrap();
    assert_eq!(ask(&server, b"-"), b"ok");
    server.stop().unwrap();
    server.log().iter().any(|line| line.contains("compiling a handler"))
}

/// The real binary.
pub fn host() -> Command {
    let mut command = Command::new(build::host().unwrap());
    let cache = build::root().join("target/tests-cache");
    std::fs::create_dir_all(&cache).unwrap();
    command.env("XDG_CACHE_HOME", cache).env_remove("RUST_BACKTRACE");
    command
}
