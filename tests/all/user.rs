//! `--user`: the user of the processes that serve.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;

use serde_json::json;
use socketserver_tests::build;
use socketserver_tests::process::{Server, wait_until};
use socketserver_tests::procfs::{children, status};

use crate::client::{echo, expect, in_flight};
use crate::counters::request_counters;
use crate::fixture::{host, serve};

/// IDs that no user and no group has.
const USER: &str = "60123:60124";

/// The options of each mode, and whether children of the server run the requests.
const MODES: [(&[&str], bool); 6] = [
    (&["--concurrency", "forking"], true),
    (&["--concurrency", "forking", "--jail", "off"], true),
    (&["--workers", "2"], true),
    (&["--workers", "2", "--jail", "off"], true),
    (&["--concurrency", "threading"], false),
    (&["--concurrency", "sync"], false),
];

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: only root can become another user");
    }
    root
}

/// The user IDs, group IDs, supplementary groups and capabilities of a process.
#[derive(Debug, PartialEq, Eq)]
struct Identity([String; 4]);

impl Identity {
    fn of_process(pid: u32) -> Identity {
        let fields = ["Uid", "Gid", "Groups", "CapEff"];
        Identity(fields.map(|field| status(pid, field).unwrap()))
    }

    /// Returns the identity of [`USER`].
    fn of_user() -> Identity {
        let four_times = |number: &str| [number; 4].join(" ");
        Identity([four_times("60123"), four_times("60124"), String::new(), "0".repeat(16)])
    }
}

/// Returns the processes that run requests.
fn serving(server: &Server, forks: bool) -> Vec<u32> {
    if forks { children(server.pid()).unwrap() } else { vec![server.pid()] }
}

#[test]
fn only_the_processes_that_serve_become_the_user() {
    if !is_root() {
        return;
    }
    for (mode, forks) in MODES {
        let mut server = echo(&[mode, &["--user", USER]].concat());
        let mut stream = in_flight(&server);
        let serving = serving(&server, forks);
        assert!(!serving.is_empty());
        for pid in serving {
            if mode.contains(&"--workers") {
                // A worker may not have changed its user yet.
                wait_until("the worker is the user", || {
                    Identity::of_process(pid) == Identity::of_user()
                });
            }
            assert_eq!(Identity::of_process(pid), Identity::of_user(), "{mode:?}");
        }
        if forks {
            assert_eq!(Identity::of_process(server.pid()).0[0], "0 0 0 0", "{mode:?}");
        }
        stream.write_all(b"2").unwrap();
        expect(&mut stream, b"2");
        drop(stream);
        assert!(server.stop().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn without_the_option_the_user_stays() {
    let own = Identity::of_process(std::process::id());
    for (mode, forks) in MODES {
        let server = echo(mode);
        let _stream = in_flight(&server);
        for pid in serving(&server, forks) {
            assert_eq!(Identity::of_process(pid).0[..3], own.0[..3], "{mode:?}");
        }
    }
}

#[test]
fn children_of_another_user_end_with_their_parent() {
    if !is_root() {
        return;
    }
    for options in [&["--concurrency", "forking"][..], &["--workers", "2"]] {
        let mut server = echo(&[options, &["--user", USER]].concat());
        let mut stream = in_flight(&server);
        server.signal("KILL").unwrap();
        server.wait().unwrap();
        // The connection ends when the process that holds its other end ends.
        assert_eq!(crate::client::read_to_end(&mut stream), b"");
    }
}

/// In a container root may lack `CAP_KILL`. The parent then cannot signal its workers, which
/// does not mean that they have ended.
#[test]
fn workers_that_the_parent_may_not_signal_are_counted() {
    if !is_root() {
        return;
    }
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set", "-kill"]).arg(build::host().unwrap()).arg("serve");
    command.arg(build::guest("rust", "echo").unwrap()).args(["--bind", "tcp://127.0.0.1:0"]);
    command.args(["--no-cache", "--log-format", "json", "--workers", "1", "--user", USER]);
    let mut server = Server::start(&mut command, 1).unwrap();
    let _stream = in_flight(&server);
    let counted = request_counters(&mut server);
    let requests = json!({
        "accepted": 1, "in_flight": 1, "done": 0, "failed": {}, "refused": {},
    });
    assert_eq!(counted["requests"], requests);
    assert_eq!(counted["children"]["workers"], 1);
}

#[test]
fn sockets_are_bound_before_the_user_changes_and_their_files_have_the_given_owner() {
    if !is_root() {
        return;
    }
    let low = (600..1024).rev().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let low = format!("tcp://127.0.0.1:{}", low.unwrap());
    for (mode, _) in MODES {
        for (options, owner) in
            [(&["--socket-owner", "60125:60126"][..], (60125, 60126)), (&[], (0, 0))]
        {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("socket");
            let bind = format!("unix://{}", path.display());
            let mut command = host();
            command.args(["serve", "--bind", &low, "--bind", &bind, "--user", USER]);
            let mut server = Server::start(command.args(mode).args(options), 2).unwrap();
            let file = path.metadata().unwrap();
            assert_eq!((file.uid(), file.gid()), owner, "{mode:?}");
            assert_eq!(crate::client::ask(&server, b"low"), b"LOW", "{mode:?}");
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(b"file").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(std::io::read_to_string(stream).unwrap(), "FILE", "{mode:?}");
            assert!(server.stop().unwrap().success(), "{mode:?}");
        }
    }
}

#[test]
fn only_root_becomes_another_user() {
    if !is_root() {
        return;
    }
    // A directory that the other user may read.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let program = directory.path().join("program");
    fs::copy(build::host().unwrap(), &program).unwrap();
    for (mode, _) in MODES {
        let mut command = std::process::Command::new(&program);
        command.args(["serve", "--no-cache", "--bind", "tcp://127.0.0.1:0", "--user", "7:8"]);
        let output = command.args(mode).uid(60123).gid(60124).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{mode:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{mode:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.lines().last().unwrap_or_default();
        assert_eq!(
            said, "wasm-socketserver: --user: only root can become user 7 and group 8",
            "{mode:?}"
        );
    }
    // A server that runs as that user already need not change.
    let mut command = std::process::Command::new(&program);
    command.args(["serve", "--no-cache", "--bind", "tcp://127.0.0.1:0", "--user", USER]);
    command.args(MODES[0].0).uid(60123).gid(60124);
    let server = Server::start(&mut command, 1).unwrap();
    assert_eq!(crate::client::ask(&server, b"mine"), b"MINE");
    // Such a server would keep its supplementary groups.
    let script = "import os, sys; os.setgroups([60124, 12]); os.setgid(60124); \
        os.setuid(60123); os.execv(sys.argv[1], sys.argv[1:])";
    for mode in [MODES[0].0, MODES[1].0, MODES[4].0, MODES[5].0] {
        let mut command = std::process::Command::new("python3");
        command.args(["-c", script]).arg(&program).args(["serve", "--no-cache", "--user", USER]);
        command.args(["--bind", "tcp://127.0.0.1:0", "--once", "--timeout", "0"]);
        let output = command.args(mode).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{mode:?}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let why = "--user: only root can give up the other groups of user 60123";
        assert!(said.contains(why), "{mode:?}: {said}");
    }
}

#[test]
fn the_group_defaults_to_the_group_of_the_user() {
    if !is_root() {
        return;
    }
    let server =
        Server::start(serve().args(["--concurrency", "sync", "--user", "nobody"]), 1).unwrap();
    let id = std::process::Command::new("id").args(["-g", "nobody"]).output().unwrap();
    let group = String::from_utf8(id.stdout).unwrap();
    assert_eq!(Identity::of_process(server.pid()).0[1], [group.trim(); 4].join(" "));
}
