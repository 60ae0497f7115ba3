//! Handlers for a single test, made from `fixtures/handler.wat` for connections and from
//! `fixtures/datagram.wat` for datagrams.

use std::path::{Path, PathBuf};
use std::process::Command;

use socketserver_tests::build;
use socketserver_tests::process::Server;
use tempfile::TempDir;

use crate::client::ask;

/// The options for each way of running requests.
pub const MODES: [&[&str]; 6] = [
    &["--concurrency", "sync"],
    &["--concurrency", "threading"],
    &["--concurrency", "forking"],
    &["--workers", "2"],
    &["--concurrency", "fibers"],
    &["--concurrency", "fibers", "--workers", "2"],
];

/// The code that a test inserts into a template. The handler runs the code if the first byte
/// of the client is `x`. To any other byte it answers `ok`.
#[derive(Clone, Copy)]
pub struct Fixture<'a> {
    /// The text of a component, with names in double braces.
    pub template: &'static str,
    /// Instructions of `setup`. As in the next three, they may return a result; the end of the
    /// function means success.
    pub setup: &'a str,
    /// Instructions of `handle`.
    pub handle: &'a str,
    /// Instructions of `finish`.
    pub finish: &'a str,
    /// Instructions of `cabi_realloc`.
    pub realloc: &'a str,
    /// Instructions that run after `handle` has returned, in a handler of connections.
    pub post_return: &'a str,
    /// More fields of the module.
    pub fields: &'a str,
    /// Definitions of more functions in the component, for a handler of connections.
    pub component: &'a str,
    /// Imports of these functions in the module.
    pub imports: &'a str,
    /// Exports that pass these functions to the module.
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

/// A handler of connections that can make handles of its own resource, with `$new`.
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
    /// Returns the text of the component.
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
        .fold(self.template.to_owned(), |text, (name, code)| text.replace(name, code))
    }

    /// Serves the handler at `tcp://127.0.0.1:0`.
    pub fn serve(&self, options: &[&str]) -> Served {
        self.serve_at(&["tcp://127.0.0.1:0"], options)
    }

    /// Serves the handler at these endpoints.
    pub fn serve_at(&self, endpoints: &[&str], options: &[&str]) -> Served {
        Served::start(&self.text(), endpoints, options)
    }
}

/// A server, and the file that it serves.
pub struct Served {
    pub server: Server,
    _handler: File,
}

impl Served {
    /// Serves the component with this text at these endpoints.
    pub fn start(text: &str, endpoints: &[&str], options: &[&str]) -> Served {
        let handler = File::new("fixture.wat", text.as_bytes());
        let mut command = host();
        command.arg("serve").arg(&handler.path).args(options);
        command.args(endpoints.iter().flat_map(|endpoint| ["--bind", endpoint]));
        Served { server: Server::start(&mut command, endpoints.len()).unwrap(), _handler: handler }
    }
}

/// A file in a directory of its own. Dropping it removes both.
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

/// Returns a command that runs the binary with `serve` on a free port.
pub fn serve() -> Command {
    let mut command = host();
    command.args(["serve", "--bind", "tcp://127.0.0.1:0"]);
    command
}

/// Serves a handler with this cache, and returns whether the host compiled it.
pub fn compiles(cache: &Path, handler: &Path, options: &[&str]) -> bool {
    let mut command = serve();
    command.arg(handler).args(["--log-level", "debug"]).args(options);
    let mut server = Server::start(command.env("XDG_CACHE_HOME", cache), 1).unwrap();
    assert_eq!(ask(&server, b"-"), b"ok");
    server.stop().unwrap();
    server.log().iter().any(|line| line.contains("compiling a handler"))
}

/// Returns a command that runs the binary. Its cache is in `target`, not in the home directory
/// of the user who runs the tests.
pub fn host() -> Command {
    let mut command = Command::new(build::host().unwrap());
    let cache = build::root().join("target/tests-cache");
    std::fs::create_dir_all(&cache).unwrap();
    command.env("XDG_CACHE_HOME", cache).env_remove("RUST_BACKTRACE");
    command
}
