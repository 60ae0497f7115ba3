//! `--user`: who serves.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use serde_json::json;
use socketserver_tests::build;
use socketserver_tests::process::{PATIENCE, Server};

use crate::client::{echo, expect, in_flight};
use crate::counters::asked;
use crate::fixture::{host, serve};

/// Of nobody.
const USER: &str = "60123:60124";

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

/// Who a process is: its users, groups, other groups and capabilities.
#[derive(Debug, PartialEq, Eq)]
struct Who([String; 4]);

impl Who {
    fn is(pid: u32) -> Who {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        Who(["Uid:", "Gid:", "Groups:", "CapEff:"].map(|field| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        }))
    }

    fn another() -> Who {
        let same = |number: &str| [number; 4].join(" ");
        Who([same("60123"), same("60124"), String::new(), "0".repeat(16)])
    }
}

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Those whose requests run in them.
fn serving(server: &Server, forks: bool) -> Vec<u32> {
    if forks { children(server.pid()) } else { vec![server.pid()] }
}

#[test]
fn whoever_serves_is_that_user_and_nobody_else_is() {
    if !is_root() {
        return;
    }
    for (mode, forks) in MODES {
        let mut server = echo(&[mode, &["--user", USER]].concat());
        let mut stream = in_flight(&server);
        let serving = serving(&server, forks);
        assert!(!serving.is_empty());
        for pid in serving {
            // A worker may have begun a moment ago.
            let begun = Instant::now();
            while mode[0] == "--workers" && Who::is(pid) != Who::another() {
                assert!(begun.elapsed() < PATIENCE, "{mode:?}: {:?}", Who::is(pid));
                std::thread::sleep(Duration::from_millis(2));
            }
            assert_eq!(Who::is(pid), Who::another(), "{mode:?}");
        }
        if forks {
            assert_eq!(Who::is(server.pid()).0[0], "0 0 0 0", "{mode:?}");
        }
        stream.write_all(b"2").unwrap();
        expect(&mut stream, b"2");
        drop(stream);
        assert!(server.stop().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn without_it_the_user_stays() {
    let own = Who::is(std::process::id());
    for (mode, forks) in MODES {
        let server = echo(mode);
        let _stream = in_flight(&server);
        for pid in serving(&server, forks) {
            assert_eq!(Who::is(pid).0[..3], own.0[..3], "{mode:?}");
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
        // Its end is that of the process which has the other end.
        assert_eq!(crate::client::read_to_end(&mut stream), b"");
    }
}

/// A container may leave root without `CAP_KILL`: then the parent cannot send its
/// workers anything, and they live.
#[test]
fn workers_that_may_not_be_signalled_are_counted() {
    if !is_root() {
        return;
    }
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set", "-kill"]).arg(build::host().unwrap()).arg("serve");
    command.arg(build::guest("rust", "echo").unwrap()).args(["--bind", "tcp://127.0.0.1:0"]);
    command.args(["--no-cache", "--log-format", "json", "--workers", "1", "--user", USER]);
    let mut server = Server::start(&mut command, 1).unwrap();
    let _stream = in_flight(&server);
    let counted = asked(&mut server);
    let requests = json!({
        "accepted": 1, "in_flight": 1, "done": 0, "failed": {}, "refused": {},
    });
    assert_eq!(counted["requests"], requests);
    assert_eq!(counted["children"]["workers"], 1);
}

#[test]
fn sockets_are_bound_before_and_their_files_belong_to_whom_they_should() {
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
    // Where that user may look.
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
    // Whoever is that user already need not become it.
    let mut command = std::process::Command::new(&program);
    command.args(["serve", "--no-cache", "--bind", "tcp://127.0.0.1:0", "--user", USER]);
    command.args(MODES[0].0).uid(60123).gid(60124);
    let server = Server::start(&mut command, 1).unwrap();
    assert_eq!(crate::client::ask(&server, b"mine"), b"MINE");
    // But it would keep its other groups.
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
fn the_group_is_that_of_the_user_if_none_is_named() {
    if !is_root() {
        return;
    }
    let server =
        Server::start(serve().args(["--concurrency", "sync", "--user", "nobody"]), 1).unwrap();
    let id = std::process::Command::new("id").args(["-g", "nobody"]).output().unwrap();
    let group = String::from_utf8(id.stdout).unwrap();
    assert_eq!(Who::is(server.pid()).0[1], [group.trim(); 4].join(" "));
}
