//! `check`, and the configuration file.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use socketserver_tests::build;
use tempfile::TempDir;

use crate::fixture::{FIXTURE, Fixture, host};

/// A folder with a configuration and handlers.
pub struct Folder {
    directory: TempDir,
}

impl Folder {
    pub fn new() -> Folder {
        Folder { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, in one step.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let new = self.path("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// Copies a sample.
    pub fn copy(&self, sample: &str, name: &str) {
        self.write(name, fs::read(build::guest("rust", sample).unwrap()).unwrap());
    }
}

/// Runs `check`, and returns its exit code, what it printed, and its errors.
fn check(folder: &Folder) -> (Option<i32>, String, String) {
    // The paths of a configuration are relative to its folder, wherever the program runs.
    let output = host().arg("check").arg(folder.path("c.toml")).current_dir("/").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn check_tries_each_handler_and_opens_no_port() {
    let folder = Folder::new();
    // The address is in use: it would be an error to bind it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    folder.copy("both", "both.wasm");
    let spins =
        Fixture { fields: "(func $spin (loop $again (br $again))) (start $spin)", ..FIXTURE };
    folder.write("spins.wat", spins.text());
    let good = format!(
        "version = 1\n[handler.up]\nsource = \"both.wasm\"\nbind = [\"tcp://{address}\", \"udp://{address}\"]\n\
         concurrency = \"forking\"\nenv = {{ A = \"1\" }}\n"
    );
    folder.write("c.toml", &good);
    assert_eq!(check(&folder), (Some(0), "up: can be served\n".to_owned(), String::new()));
    for (more, why) in [
        (
            "[handler.spins]\nsource = \"spins.wat\"\nbind = \"tcp://:1\"\nworkers = 1\ncpu-time = \"20ms\"\n",
            "it used up its CPU time of 20ms",
        ),
        (
            "[handler.spins]\nsource = \"spins.wat\"\nbind = \"tcp://:1\"\ncpu-time = \"20ms\"\n",
            "it used up its CPU time of 20ms",
        ),
        (
            "[handler.none]\nsource = \"none.wasm\"\nbind = \"tcp://:1\"\n",
            "none: cannot serve `none.wasm`",
        ),
        (
            "[handler.udp]\nsource = \"spins.wat\"\nbind = \"udp://:1\"\ncpu-time = \"20ms\"\nconcurrency = \"forking\"\n",
            "cannot be served",
        ),
    ] {
        folder.write("c.toml", good.clone() + more);
        let (code, printed, errors) = check(&folder);
        assert_eq!(code, Some(1), "{more}: {printed}{errors}");
        assert!(printed.contains("up: can be served\n"), "{more}: {printed}");
        assert!(format!("{printed}{errors}").contains(why), "{more}: {printed}{errors}");
    }
}

#[test]
fn a_handler_with_another_digest_is_refused() {
    let folder = Folder::new();
    folder.copy("upper", "upper.wasm");
    let zero = "0".repeat(64);
    let text = |digest: &str| {
        format!(
            "version = 1\n[handler.up]\nsource = \"upper.wasm\"\nbind = \"tcp://:1\"\ndigest = \"{digest}\"\n"
        )
    };
    folder.write("c.toml", text(&format!("sha256:{zero}")));
    let (code, _, errors) = check(&folder);
    assert_eq!(code, Some(1), "{errors}");
    let (_, digest) = errors.split_once("its digest is ").unwrap_or_else(|| panic!("{errors}"));
    let (digest, rest) = digest.split_once(", and must be ").unwrap();
    assert_eq!(rest, format!("sha256:{zero}\n"));
    folder.write("c.toml", text(digest));
    assert_eq!(check(&folder).0, Some(0));
    // The option of the same name.
    let mut serve = host();
    serve.args(["serve", "--bind", "tcp://127.0.0.1:0", "--digest", &format!("sha256:{zero}")]);
    let output = serve.arg(folder.path("upper.wasm")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn mistakes_are_exit_code_2_and_a_line_each() {
    let folder = Folder::new();
    folder.write("c.toml", "version = 1\n[handler.up]\nsorce = 1\nworkers = \"2\"\n");
    for command in ["check", "up"] {
        let output = host().arg(command).arg(folder.path("c.toml")).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let path = folder.path("c.toml");
        let said = String::from_utf8(output.stderr).unwrap();
        let path = path.display();
        let lines = format!(
            "{path}:3:1: `sorce` is no key of [handler.up]: did you mean `source`?\n\
             {path}:4:11: workers: write a number, not a string\n"
        );
        assert_eq!(said, lines);
    }
    let output = host().args(["check", "/nonexistent/c.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_printed_configuration_can_be_checked() {
    let folder = Folder::new();
    folder.copy("upper", "upper.wasm");
    let mut serve = host();
    serve.current_dir(folder.path("")).args(["serve", "upper.wasm", "--print-config"]);
    serve.args(["--bind", "tcp://127.0.0.1:0", "--bind", "unix://socket", "--workers", "2"]);
    let output = serve.args(["--env", "A=b", "--stats"]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let folder_name = folder.path("");
    let expected = format!(
        "version = 1\n\n[handler.upper]\nsource = \"{0}upper.wasm\"\nbind = \
         [\"tcp://127.0.0.1:0\", \"unix://{0}socket\"]\nworkers = 2\nenv = [\"A=b\"]\nstats = true\n",
        folder_name.display()
    );
    assert_eq!(printed, expected, "{}", String::from_utf8_lossy(&output.stderr));
    folder.write("c.toml", &printed);
    assert_eq!(check(&folder).0, Some(0));
    let output = host().args(["serve", "--print-config"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}
