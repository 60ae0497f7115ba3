//! `--jail`: everything that serving needs works in it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use socketserver_tests::build;
use socketserver_tests::load::{Client, Target};
use socketserver_tests::process::{PATIENCE, Server};

use crate::client::{ask, expect};
use crate::fixture::{FIXTURE, Fixture, host, serve};

const MODES: [&[&str]; 2] = [&["--concurrency", "forking"], &["--workers", "2"]];

/// Whether this machine has what the jail is made of.
pub fn can_be_had() -> bool {
    let mut command = serve();
    command.args(["--once", "--timeout", "0", "--concurrency", "forking", "--jail", "require"]);
    let said = command.output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let can = !said.contains("this machine has no");
    if !can {
        println!("skipped: {said}");
    }
    can
}

fn start(command: &mut Command, mode: &[&str]) -> Server {
    Server::start(command.args(mode).args(["--jail", "require"]), 1).unwrap()
}

/// What the kernel says of a process.
pub fn status(pid: &str, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_default().trim_start_matches(':').trim().to_owned()
}

/// Waits until a worker, which may have begun a moment ago, is in the jail.
pub fn wait_until_in_it(pid: &str) {
    let begun = Instant::now();
    while status(pid, "Seccomp") != "2" {
        assert!(begun.elapsed() < PATIENCE, "process {pid} is not in the jail");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What its descriptors are, for root.
fn descriptors(pid: &str) -> Option<Vec<String>> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let links = links.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    Some(links.map(|link| link.display().to_string()).collect())
}

#[test]
fn it_is_on_unless_told_otherwise() {
    if !can_be_had() {
        return;
    }
    for mode in MODES {
        for (options, in_it) in [(&[][..], true), (&["--jail", "off"], false)] {
            let mut command = serve();
            command.arg(build::guest("rust", "echo").unwrap()).args(mode).args(options);
            let server = Server::start(&mut command, 1).unwrap();
            let mut streams: Vec<_> = (0..40).map(|_| server.connect().unwrap()).collect();
            for stream in &mut streams {
                stream.write_all(b"1").unwrap();
                expect(stream, b"1");
            }
            let parent = server.pid().to_string();
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
            for child in children.unwrap().split_whitespace() {
                if in_it {
                    wait_until_in_it(child);
                } else {
                    assert_eq!(status(child, "Seccomp"), "0", "{mode:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_missing_of_it_is_a_warning() {
    // A filter that refuses `landlock_create_ruleset`, as an older kernel does.
    let script = build::root().join("tests/all/old_kernel.py");
    for mode in MODES {
        let start = |jail: &str| {
            let mut command = Command::new("python3");
            command
                .arg(&script)
                .arg("landlock")
                .arg(build::host().unwrap())
                .args(["serve", "--bind"]);
            command.arg("tcp://127.0.0.1:0").args(mode).args(["--jail", jail]);
            Server::start(&mut command, 1)
        };
        let mut server = start("try").unwrap();
        let line = server.wait_for_log("jail:").unwrap();
        assert!(line.contains("WARN") && line.contains("; without landlock"), "{line}");
        assert_eq!(ask(&server, b"served"), b"SERVED", "{mode:?}");
        let refused = start("require").err().unwrap().to_string();
        assert!(refused.contains("this machine has no landlock for the jail"), "{refused}");
    }
}

#[test]
fn forked_processes_are_in_it_and_so_is_what_forks_them_for_each_request() {
    if !can_be_had() {
        return;
    }
    for mode in MODES {
        let mut command = serve();
        let mut server = start(command.arg(build::guest("rust", "echo").unwrap()), mode);
        server.wait_for_log("jail: no_new_privs, rlimits, landlock").unwrap();
        // The later one finds what its parent has of the earlier.
        let [mut stream, _other] = [(); 2].map(|()| {
            let mut stream = server.connect().unwrap();
            stream.write_all(b"1").unwrap();
            expect(&mut stream, b"1");
            stream
        });
        let parent = server.pid().to_string();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        for child in children.unwrap().split_whitespace() {
            // Only root may look into a process that cannot be dumped.
            wait_until_in_it(child);
            if let Some(descriptors) = descriptors(child) {
                let count = |of: &str| descriptors.iter().filter(|fd| fd.contains(of)).count();
                if mode == MODES[0] {
                    // The three standard ones, and the connection.
                    assert_eq!(descriptors.len(), 4, "{descriptors:?}");
                } else {
                    // The listener, and perhaps the connections.
                    assert!(count("socket:") <= 3, "{descriptors:?}");
                    for unneeded in ["pidfd", "eventpoll", "landlock", "/task"] {
                        assert_eq!(count(unneeded), 0, "{descriptors:?}");
                    }
                }
            }
            assert_eq!(status(child, "NoNewPrivs"), "1", "{mode:?}");
            assert_eq!(status(child, "CapEff"), "0000000000000000", "{mode:?}");
        }
        // The one that forks for each request does without what its children do.
        let forks = mode == MODES[0];
        assert_eq!(status(&parent, "Seccomp"), if forks { "2" } else { "0" });
        assert_eq!(status(&parent, "NoNewPrivs"), if forks { "1" } else { "0" });
        stream.write_all(b"2").unwrap();
        expect(&mut stream, b"2");
    }
}

/// A command that is started with the directory `/etc` as a descriptor.
pub fn with_a_descriptor(of: &Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 9</etc", "sh"]).arg(of.get_program()).args(of.get_args());
    command.envs(of.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Whether a process holds that descriptor; `None` if only root could know.
pub fn holds_it(pid: &str) -> Option<bool> {
    descriptors(pid).map(|all| all.iter().any(|descriptor| descriptor == "/etc"))
}

#[test]
fn descriptors_that_the_server_was_started_with_are_not_in_it() {
    if !can_be_had() {
        return;
    }
    for mode in MODES {
        let echo = build::guest("rust", "echo").unwrap();
        let server = start(with_a_descriptor(serve().arg(echo)).args(mode), &[]);
        let mut stream = server.connect().unwrap();
        stream.write_all(b"1").unwrap();
        expect(&mut stream, b"1");
        let parent = server.pid().to_string();
        // It may hold a lock for whoever started it.
        assert_ne!(holds_it(&parent), Some(false));
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        for child in children.unwrap().split_whitespace() {
            wait_until_in_it(child);
            assert_ne!(holds_it(child), Some(true), "{mode:?}");
        }
    }
}

/// It may be a terminal, at which somebody types.
#[test]
fn standard_input_is_nothing_to_those_that_serve() {
    for mode in MODES {
        let echo = build::guest("rust", "echo").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 0</etc/passwd", "sh"]);
        let of = serve();
        command.arg(of.get_program()).args(of.get_args()).arg(echo).args(mode);
        let server = Server::start(&mut command, 1).unwrap();
        let mut stream = server.connect().unwrap();
        stream.write_all(b"1").unwrap();
        expect(&mut stream, b"1");
        let parent = server.pid().to_string();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        for process in children.unwrap().split_whitespace().chain([&*parent]) {
            if let Ok(standard_input) = fs::read_link(format!("/proc/{process}/fd/0")) {
                assert_eq!(standard_input, Path::new("/dev/null"), "{mode:?}");
            }
        }
    }
}

#[test]
fn handlers_of_each_language_and_transport_are_served_in_it() {
    if !can_be_had() {
        return;
    }
    for mode in MODES {
        for language in ["rust", "c", "cpp", "go", "python", "javascript"] {
            let mut command = serve();
            let server = start(command.arg(build::guest(language, "upper").unwrap()), mode);
            for _ in 0..3 {
                assert_eq!(ask(&server, b"in jail"), b"IN JAIL", "{language} {mode:?}");
            }
        }
        let directory = tempfile::tempdir().unwrap();
        for (scheme, sample) in [("udp", "dupper"), ("unix", "upper"), ("unixgram", "dupper")] {
            let place = place(scheme, directory.path());
            let mut command = host();
            command
                .arg("serve")
                .arg(build::guest("rust", sample).unwrap())
                .args(["--bind", &place]);
            let mut server = start(&mut command, mode);
            let target = Target::parse(&server.endpoints()[0]).unwrap();
            let mut client = Client::new(&target).unwrap();
            for _ in 0..3 {
                client.ask().unwrap_or_else(|error| panic!("{scheme} {mode:?}: {error}"));
            }
            assert!(server.stop().unwrap().success());
            let _ = fs::remove_file(directory.path().join("socket"));
        }
    }
}

fn place(scheme: &str, directory: &Path) -> String {
    match scheme {
        "udp" => "udp://127.0.0.1:0".to_owned(),
        _ => format!("{scheme}://{}", directory.join("socket").display()),
    }
}

#[test]
fn limits_traps_and_reports_work_in_it() {
    if !can_be_had() {
        return;
    }
    for mode in MODES {
        for (handle, reason) in [
            ("unreachable", "trap"),
            ("(loop $again (br $again))", "cpu-time"),
            ("(call $recv (i32.const 1))", "idle-timeout"),
            ("(return (call $failed))", "error"),
        ] {
            let limits = ["--cpu-time", "100ms", "--idle-timeout", "100ms", "--jail", "require"];
            let mut served = Fixture { handle, ..FIXTURE }.serve(&[mode, &limits[..]].concat());
            let mut stream = served.server.connect().unwrap();
            stream.write_all(b"x").unwrap();
            let line = served.server.wait_for_log("Exception occurred").unwrap();
            assert!(line.contains(&format!("reason=\"{reason}\"")), "{mode:?}: {line}");
            assert_eq!(ask(&served.server, b"-"), b"ok", "{mode:?} {reason}");
        }
    }
}
