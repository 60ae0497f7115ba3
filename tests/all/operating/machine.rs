//! The machine of the page, in a temporary root.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;

use socketserver_tests::build;
use socketserver_tests::process::{TIMEOUT, wait_until};
use tempfile::TempDir;

use super::service::{Service, give_away};
use super::unit::Unit;
use crate::monitor::get;

/// The name of the service.
const SERVICE: &str = "wasm-socketserver";

/// The port of the handler on the page, that of the monitor, and that of the handler with TLS.
const PORTS: [&str; 3] = ["9000", "9464", "9443"];

/// Programs that do here what they do elsewhere.
const PROGRAMS: [&str; 7] = ["install", "curl", "grep", "python3", "openssl", "echo", SERVICE];

/// The places of the page, and those that take their place.
#[derive(Clone)]
pub struct Places(Vec<(String, String)>);

impl Places {
    fn new(root: &Path) -> Places {
        let folders = ["/usr/local", "/etc", "/srv", "/run", "/var"];
        let mut pairs: Vec<_> = folders
            .iter()
            .map(|it| ((*it).to_owned(), format!("{}{it}", root.display())))
            .collect();
        let guests = build::guest_folder().display().to_string();
        pairs.push(("target/guests".to_owned(), guests));
        pairs.extend(
            PORTS.iter().zip(ports()).map(|(it, port)| ((*it).to_owned(), port.to_string())),
        );
        Places(pairs)
    }

    /// Returns a text of the page with the places of this test. Each place is a whole word, or
    /// the beginning of a path.
    pub fn here(&self, text: &str) -> String {
        let mut here = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let is_begin = !here.ends_with(|c: char| c.is_alphanumeric() || "/._-".contains(c));
            let place = self.0.iter().find_map(|(place, other)| {
                let after = rest.strip_prefix(&**place).filter(|_| is_begin)?;
                let is_end = !after.starts_with(|c: char| c.is_alphanumeric() || "._-".contains(c));
                is_end.then_some((other, after))
            });
            rest = if let Some((other, after)) = place {
                here += other;
                after
            } else {
                here.push(first);
                &rest[first.len_utf8()..]
            };
        }
        here
    }

    /// Returns the path of what the service has written.
    pub fn journal(&self) -> PathBuf {
        self.here("/var/journal").into()
    }

    fn port(&self, port: &str) -> u16 {
        self.here(port).parse().unwrap()
    }
}

pub struct Machine {
    root: TempDir,
    places: Places,
    user: Option<String>,
    unit: Option<Unit>,
    service: Option<Service>,
    reloads: usize,
    /// The handler that serves since the service was started or reloaded.
    served: Vec<u8>,
}

impl Machine {
    pub fn new() -> Machine {
        let root = tempfile::tempdir().unwrap();
        // The user of the service goes through it.
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let places = Places::new(root.path());
        for folder in ["/usr/local/bin", "/etc/systemd/system", "/srv", "/run", "/var/cache"] {
            fs::create_dir_all(places.here(folder)).unwrap();
        }
        let journalctl = root.path().join("journalctl");
        let script = format!("#!/bin/sh\nexec cat '{}'\n", places.journal().display());
        fs::write(&journalctl, script).unwrap();
        fs::set_permissions(&journalctl, Permissions::from_mode(0o755)).unwrap();
        Machine {
            root,
            places,
            user: None,
            unit: None,
            service: None,
            reloads: 0,
            served: Vec::new(),
        }
    }

    /// Writes a file of the page.
    pub fn write(&mut self, path: &str, content: &str) {
        let here = PathBuf::from(self.places.here(path));
        assert!(here.starts_with(self.root.path()), "{path} is in no folder that the test has");
        fs::create_dir_all(here.parent().unwrap()).unwrap();
        // systemd reads units of the page as they stand: see `Service`.
        let is_unit = path.starts_with("/etc/systemd/");
        let content = if is_unit { content.to_owned() } else { self.places.here(content) };
        fs::write(here, content).unwrap();
    }

    /// Runs a command of the page.
    pub fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["cargo", "install", "--locked", "--path", path, "--root", folder] => {
                let manifest = build::root().join(path).join("Cargo.toml");
                let manifest = fs::read_to_string(manifest).unwrap();
                assert!(manifest.contains(&format!("name = \"{SERVICE}\"")), "{line}");
                let folder = PathBuf::from(self.places.here(folder)).join("bin");
                build::install(&folder, build::host().unwrap(), SERVICE).unwrap();
            }
            ["cargo", "guests", guest] => {
                let (language, name) = guest.split_once('/').unwrap();
                build::guest(language, name).unwrap();
            }
            ["useradd", "--system", .., user] => self.user = Some(user.to_owned()),
            ["chown", user, path] => {
                assert_eq!(Some(user), self.user.as_deref(), "{line}");
                give_away(self.places.here(path).as_ref());
            }
            ["systemctl", ref words @ ..] => self.systemctl(line, words),
            ["ssh", "-N", "-L", tunnel, _] => {
                let port = self.places.port(PORTS[1]);
                assert_eq!(self.places.here(tunnel), format!("{port}:127.0.0.1:{port}"), "{line}");
                let (status, page) = get(([127, 0, 0, 1], port).into(), "/");
                assert!(status == 200 && page.contains("</html>"), "{line}: {status}");
            }
            _ => {
                let (succeeds, text) = self.bash(line);
                assert!(succeeds, "{line}\n{text}");
            }
        }
    }

    /// Runs a command that prints this. Those that only look are run again until they print it: a
    /// request is counted a moment after its answer, and a process ends a moment after its last.
    pub fn expect(&mut self, line: &str, answer: &str) {
        let expected = without_what_varies(&self.places.here(answer));
        let mut printed = String::new();
        let mut is_expected = || {
            let (succeeds, text) = self.bash(line);
            let text = without_what_varies(text.trim_end());
            if text != printed {
                println!("{line}\n{text}");
            }
            printed = text;
            succeeds && printed == expected
        };
        if line.starts_with("curl ") || line.starts_with("wasm-socketserver status ") {
            wait_until(&format!("{line} prints {expected}"), is_expected);
        } else {
            assert!(is_expected(), "{line}\n{printed}\nin place of\n{expected}");
        }
    }

    /// Runs a pipeline of known programs. Returns whether it succeeds, and what it has printed.
    fn bash(&self, line: &str) -> (bool, String) {
        for command in line.split(" | ") {
            let program = command.split_whitespace().next().unwrap();
            let is_known = PROGRAMS.contains(&program)
                || command == "journalctl --unit=wasm-socketserver --output=cat";
            assert!(
                is_known,
                "the test does not know what `{command}` does, a command of the page: add it to \
                 the table in tests/all/operating.rs"
            );
        }
        let path = std::env::var("PATH").unwrap();
        let own = [self.places.here("/usr/local/bin"), self.root.path().display().to_string()];
        let mut bash = Command::new("bash");
        bash.args(["-o", "pipefail", "-c", &self.places.here(line)]).current_dir(build::root());
        bash.env("PATH", format!("{}:{path}", own.join(":"))).env("HOME", self.root.path());
        bash.env_remove("XDG_CACHE_HOME");
        let output = bash.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    fn systemctl(&mut self, line: &str, words: &[&str]) {
        match *words {
            ["daemon-reload"] => {
                let folder = PathBuf::from(self.places.here("/etc/systemd/system"));
                let unit = Unit::read(&folder, SERVICE);
                assert_eq!(Some(unit.value("User")), self.user.as_deref());
                self.unit = Some(unit);
            }
            ["enable", "--now", SERVICE] => {
                let unit = self.unit.as_ref().expect("systemd has not read the unit");
                assert_eq!(unit.value("WantedBy"), "multi-user.target");
                self.systemctl(line, &["start", SERVICE]);
            }
            ["start", SERVICE] => {
                assert!(self.service.is_none(), "the service runs");
                let unit = self.unit.take().expect("systemd has not read the unit anew");
                self.service = Some(Service::start(unit, self.places.clone()));
                self.served = self.handler();
            }
            ["reload", SERVICE] => self.reload(),
            ["stop", SERVICE] => self.service.take().unwrap().stop(),
            _ => panic!("the test does not know what `{line}` does, a command of the page"),
        }
    }

    /// Reloads the service while clients come, and while a connection is open. No connection is
    /// lost, and the open one is finished by the old code.
    fn reload(&mut self) {
        let port = self.places.port(PORTS[0]);
        let before = ask(port);
        let open = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let answers = thread::scope(|scope| {
            // Clients come until it is dropped, also if the reload fails.
            let (reloading, is_reloading) = channel::<()>();
            let clients = scope.spawn(move || {
                let mut answers = Vec::new();
                while is_reloading.try_recv() == Err(TryRecvError::Empty) {
                    answers.push(ask(port));
                }
                answers
            });
            self.service.as_mut().unwrap().reload();
            drop(reloading);
            clients.join().unwrap()
        });
        let handler = self.handler();
        let is_new = handler != self.served;
        self.served = handler;
        // The old process may still serve those that wait in the queue.
        let mut after = String::new();
        wait_until("the new code answers", || {
            after = ask(port);
            (after != before) == is_new
        });
        assert!(answers.iter().all(|answer| [&before, &after].contains(&answer)), "{answers:?}");
        assert_eq!(finish(open), before);
        self.reloads += 1;
    }

    fn handler(&self) -> Vec<u8> {
        fs::read(self.places.here("/srv/handlers/upper.wasm")).unwrap()
    }

    /// Checks that the page had what it is about.
    pub fn has_seen_all(self) {
        assert_eq!(self.reloads, 3);
        assert!(self.service.is_none(), "the page leaves the service running");
        let journal = fs::read_to_string(self.places.journal()).unwrap();
        for line in journal.lines().filter(|line| !line.starts_with("listening ")) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_ne!(line["level"], "ERROR", "{line}");
        }
    }
}

/// Returns free ports that the kernel gives to no client, and to no server that asks for any. They
/// are not bound before the page comes to it.
fn ports() -> impl Iterator<Item = u16> {
    let process = u16::try_from(std::process::id() % 10_000).unwrap();
    let is_free = |port: &u16| TcpListener::bind(("0.0.0.0", *port)).is_ok();
    (20_000 + process..32_000).filter(is_free)
}

fn ask(port: u16) -> String {
    finish(TcpStream::connect(("127.0.0.1", port)).unwrap())
}

/// Sends a request, and returns the answer.
fn finish(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(b"Hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Returns what `status` prints with the same number for each process, and the same times.
fn without_what_varies(text: &str) -> String {
    let lines = text.lines().map(|line| {
        if let Some((before, _)) = line.split_once(" expires at ") {
            return format!("{before} expires at a time");
        }
        let Some((before, process)) = line.split_once(", process ") else { return line.to_owned() };
        let (_, after) = process.split_once(", for ").unwrap();
        let (_, after) = after.split_once(", ").unwrap_or((after, ""));
        format!("{before}, process N, for a time {after}")
    });
    lines.collect::<Vec<_>>().join("\n")
}
