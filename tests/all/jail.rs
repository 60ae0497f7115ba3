//! `--jail`: serving works in the jail, and the processes that should be jailed are.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use socketserver_tests::build::{self, LANGUAGES};
use socketserver_tests::load::{Client, Target};
use socketserver_tests::process::{Server, wait_until};
use socketserver_tests::procfs::{children, status};

use crate::client::{ask, expect};
use crate::fixture::{FIXTURE, Fixture, host, serve};

const MODES: [&[&str]; 3] = [
    &["--concurrency", "forking"],
    &["--workers", "2"],
    &["--workers", "2", "--concurrency", "fibers"],
];

/// Returns whether this machine has all parts of the jail.
pub fn is_available() -> bool {
    let mut command = serve();
    command.args(["--once", "--timeout", "0", "--concurrency", "forking", "--jail", "require"]);
    let said = command.output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let is_available = !said.contains("this machine has no");
    if !is_available {
        println!("skipped: {said}");
    }
    is_available
}

fn start(command: &mut Command, mode: &[&str]) -> Server {
    Server::start(command.args(mode).args(["--jail", "require"]), 1).unwrap()
}

/// Waits until a process is in the jail, which a worker enters before it serves.
pub fn wait_until_jailed(pid: u32) {
    wait_until("the process is in the jail", || status(pid, "Seccomp").unwrap() == "2");
}

/// Returns the files of a process's descriptors. Only root may read those of a jailed process.
fn descriptors(pid: u32) -> Option<Vec<String>> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let links = links.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    Some(links.map(|link| link.display().to_string()).collect())
}

#[test]
fn the_jail_is_on_by_default() {
    if !is_available() {
        return;
    }
    for mode in MODES {
        for (options, is_jailed) in [(&[][..], true), (&["--jail", "off"], false)] {
            let mut command = serve();
            command.arg(build::guest("rust", "echo").unwrap()).args(mode).args(options);
            let server = Server::start(&mut command, 1).unwrap();
            let mut streams: Vec<_> = (0..40).map(|_| server.connect().unwrap()).collect();
            for stream in &mut streams {
                stream.write_all(b"1").unwrap();
                expect(stream, b"1");
            }
            for child in children(server.pid()).unwrap() {
                if is_jailed {
                    wait_until_jailed(child);
                } else {
                    assert_eq!(status(child, "Seccomp").unwrap(), "0", "{mode:?}");
                }
            }
        }
    }
}

#[test]
fn a_part_of_the_jail_that_the_kernel_lacks_is_a_warning_or_an_error() {
    // The script makes `landlock_create_ruleset` fail, as on an older kernel.
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
fn forked_processes_are_jailed_and_so_is_a_parent_that_forks_for_each_request() {
    if !is_available() {
        return;
    }
    for mode in MODES {
        let mut command = serve();
        let mut server = start(command.arg(build::guest("rust", "echo").unwrap()), mode);
        server.wait_for_log("jail: no_new_privs, rlimits, landlock").unwrap();
        // The second child could inherit descriptors of the first request.
        let [mut stream, _other] = [(); 2].map(|()| {
            let mut stream = server.connect().unwrap();
            stream.write_all(b"1").unwrap();
            expect(&mut stream, b"1");
            stream
        });
        let parent = server.pid();
        for child in children(parent).unwrap() {
            wait_until_jailed(child);
            if let Some(descriptors) = descriptors(child) {
                let count = |text: &str| descriptors.iter().filter(|fd| fd.contains(text)).count();
                if mode == MODES[0] {
                    // Standard input, output and error, and the connection.
                    assert_eq!(descriptors.len(), 4, "{descriptors:?}");
                } else {
                    // The listener, and the connections of this worker.
                    assert!(count("socket:") <= 3, "{descriptors:?}");
                    for unneeded in ["pidfd", "landlock", "/task"] {
                        assert_eq!(count(unneeded), 0, "{descriptors:?}");
                    }
                    // Those of its leaders, and not the one of its parent's children. A thread of
                    // fibers has more, for its tasks.
                    let leaders = (available_parallelism().unwrap().get() / 2).max(1);
                    let has_fibers = mode == MODES[2];
                    wait_until("each leader has an epoll", || {
                        let descriptors = self::descriptors(child).unwrap();
                        let epolls = descriptors.iter().filter(|fd| fd.contains("eventpoll"));
                        let epolls = epolls.count();
                        epolls == leaders || has_fibers && epolls > leaders
                    });
                }
            }
            assert_eq!(status(child, "NoNewPrivs").unwrap(), "1", "{mode:?}");
            assert_eq!(status(child, "CapEff").unwrap(), "0000000000000000", "{mode:?}");
        }
        // A parent that forks for each request has the filter of its children.
        let forks = mode == MODES[0];
        assert_eq!(status(parent, "Seccomp").unwrap(), if forks { "2" } else { "0" });
        assert_eq!(status(parent, "NoNewPrivs").unwrap(), if forks { "1" } else { "0" });
        stream.write_all(b"2").unwrap();
        expect(&mut stream, b"2");
    }
}

/// Returns a command that runs `inner` with the directory `/etc` as an open descriptor.
pub fn with_etc_open(inner: &Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 9</etc", "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Returns whether a process has `/etc` open, or `None` if only root may know.
pub fn has_etc_open(pid: u32) -> Option<bool> {
    descriptors(pid).map(|all| all.iter().any(|descriptor| descriptor == "/etc"))
}

#[test]
fn descriptors_that_the_server_inherited_are_not_in_the_jail() {
    if !is_available() {
        return;
    }
    for mode in MODES {
        let echo = build::guest("rust", "echo").unwrap();
        let server = start(with_etc_open(serve().arg(echo)).args(mode), &[]);
        let mut stream = server.connect().unwrap();
        stream.write_all(b"1").unwrap();
        expect(&mut stream, b"1");
        // The parent keeps it: it may be a lock for the program that started the server.
        assert_ne!(has_etc_open(server.pid()), Some(false));
        for child in children(server.pid()).unwrap() {
            wait_until_jailed(child);
            assert_ne!(has_etc_open(child), Some(true), "{mode:?}");
        }
    }
}

/// Standard input may be a terminal, whose input is not for a handler.
#[test]
fn standard_input_of_processes_that_serve_is_empty() {
    for mode in MODES {
        let echo = build::guest("rust", "echo").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 0</etc/passwd", "sh"]);
        let inner = serve();
        command.arg(inner.get_program()).args(inner.get_args()).arg(echo).args(mode);
        let server = Server::start(&mut command, 1).unwrap();
        let mut stream = server.connect().unwrap();
        stream.write_all(b"1").unwrap();
        expect(&mut stream, b"1");
        for process in children(server.pid()).unwrap().into_iter().chain([server.pid()]) {
            if let Ok(standard_input) = fs::read_link(format!("/proc/{process}/fd/0")) {
                assert_eq!(standard_input, Path::new("/dev/null"), "{mode:?}");
            }
        }
    }
}

#[test]
fn handlers_of_each_language_and_transport_are_served_in_the_jail() {
    if !is_available() {
        return;
    }
    for mode in MODES {
        for (language, _) in LANGUAGES {
            let mut command = serve();
            let mut server = start(command.arg(build::guest(language, "upper").unwrap()), mode);
            for _ in 0..3 {
                let answer = ask(&server, b"in jail");
                assert_eq!(answer, b"IN JAIL", "{language} {mode:?}: {:#?}", server.log());
            }
        }
        let directory = tempfile::tempdir().unwrap();
        for (scheme, sample) in [("udp", "dupper"), ("unix", "upper"), ("unixgram", "dupper")] {
            let endpoint = endpoint(scheme, directory.path());
            let mut command = host();
            command
                .arg("serve")
                .arg(build::guest("rust", sample).unwrap())
                .args(["--bind", &endpoint]);
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

fn endpoint(scheme: &str, directory: &Path) -> String {
    match scheme {
        "udp" => "udp://127.0.0.1:0".to_owned(),
        _ => format!("{scheme}://{}", directory.join("socket").display()),
    }
}

#[test]
fn limits_traps_and_reports_work_in_the_jail() {
    if !is_available() {
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
