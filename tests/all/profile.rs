//! `--profile hostile`: each of its limits holds, and an explicit option overrides it. Tests
//! beside the code of the profiles cover the times that are too long for a test here.

use std::process::Command;

use socketserver_tests::build::{self, LANGUAGES};
use socketserver_tests::process::Server;
use socketserver_tests::procfs::{children, status};

use crate::client::{ask, in_flight};
use crate::fixture::{FIXTURE, File, Fixture, Served, WITH_HANDLES, compiles, serve};
use crate::jail::is_available;

const HOSTILE: [&str; 2] = ["--profile", "hostile"];

/// Serves a fixture with the profile and more options.
fn serve_hostile(fixture: &Fixture<'_>, options: &[&str]) -> Served {
    fixture.serve(&[&HOSTILE[..], options].concat())
}

/// Waits for the line of a request that failed with `reason`, and returns it. Checks that the
/// server goes on.
fn failure(served: &mut Served, reason: &str) -> String {
    let line = served.server.wait_for_log("Exception occurred").unwrap();
    assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
    assert_eq!(ask(&served.server, b"-"), b"ok");
    line
}

/// Returns code that grows the memory by `pages`, and traps if the host refuses.
fn grow_by(pages: u32) -> String {
    format!(
        "(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable))
        (call $sendall (i32.const 100) (i32.const 2))"
    )
}

#[test]
fn the_memory_is_16_mib() {
    let [fits, exceeds] = [grow_by(15 * 16 - 1), grow_by(17 * 16 - 1)];
    let [fits, exceeds] = [&fits, &exceeds].map(|handle| Fixture { handle, ..WITH_HANDLES });
    assert_eq!(ask(&serve_hostile(&fits, &[]).server, b"x"), b"ok");
    let mut served = serve_hostile(&exceeds, &[]);
    assert_eq!(ask(&served.server, b"x"), b"");
    assert!(failure(&mut served, "memory").contains("the limit is 16777216"));
    assert_eq!(ask(&serve_hostile(&exceeds, &["--memory", "18MiB"]).server, b"x"), b"ok");
}

#[test]
fn the_cpu_time_is_one_second() {
    let endless = Fixture { handle: "(loop $again (br $again))", ..FIXTURE };
    for (options, limit) in [(&[][..], "1s"), (&["--cpu-time", "50ms"], "50ms")] {
        let mut served = serve_hostile(&endless, options);
        ask(&served.server, b"x");
        let line = failure(&mut served, "cpu-time");
        assert!(line.contains(&format!("its CPU time of {limit}\" ")), "{line}");
    }
}

#[test]
fn a_request_receives_at_most_64_mib() {
    use std::io::{Read, Write};
    let receives = Fixture {
        handle: "(loop $again
            (call $recv (i32.const 60000))
            (if (i32.load8_u (i32.const 16)) (then (return (call $failed))))
            (br_if $again (i32.load (i32.const 24))))
            (call $sendall (i32.const 100) (i32.const 2))",
        ..FIXTURE
    };
    let talk = |served: &Served, bytes: usize| {
        let mut stream = served.server.connect().unwrap();
        let data = vec![b'x'; bytes];
        // The server resets the connection at the limit.
        let _ = stream.write_all(&data);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    let mut served = serve_hostile(&receives, &[]);
    assert_eq!(talk(&served, 64 << 20), b"ok");
    assert_eq!(talk(&served, (64 << 20) + 1), b"");
    failure(&mut served, "received");
    let served = serve_hostile(&receives, &["--max-received", "65MiB"]);
    assert_eq!(talk(&served, (64 << 20) + 1), b"ok");
}

#[test]
fn a_request_sends_at_most_64_mib() {
    let sends = |more: u32| {
        format!(
            "(local $left i32) (local.set $left (i32.const 1024))
            (loop $again
                (call $sendall (i32.const 0) (i32.const 65536))
                (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
            (call $sendall (i32.const 0) (i32.const {more}))"
        )
    };
    let [fits, exceeds] = [sends(0), sends(1)];
    let [fits, exceeds] = [&fits, &exceeds].map(|handle| Fixture { handle, ..WITH_HANDLES });
    assert_eq!(ask(&serve_hostile(&fits, &[]).server, b"x").len(), 64 << 20);
    let mut served = serve_hostile(&exceeds, &[]);
    assert_eq!(ask(&served.server, b"x").len(), 64 << 20);
    failure(&mut served, "sent");
    let served = serve_hostile(&exceeds, &["--max-sent", "65MiB"]);
    assert_eq!(ask(&served.server, b"x").len(), (64 << 20) + 1);
}

#[test]
fn a_request_has_at_most_64_handles() {
    // The request socket has one handle, and the call that answers lends one to the host.
    let holds = |handles: u32| {
        format!(
            "(local $left i32) (local.set $left (i32.const {handles}))
            (loop $again
                (drop (call $new (i32.const 1)))
                (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
            (call $sendall (i32.const 100) (i32.const 2))"
        )
    };
    let [fits, exceeds] = [holds(62), holds(63)];
    let [fits, exceeds] = [&fits, &exceeds].map(|handle| Fixture { handle, ..WITH_HANDLES });
    assert_eq!(ask(&serve_hostile(&fits, &[]).server, b"x"), b"ok");
    let mut served = serve_hostile(&exceeds, &[]);
    assert_eq!(ask(&served.server, b"x"), b"");
    failure(&mut served, "handles");
}

#[test]
fn a_request_logs_at_most_8_kib() {
    // Of 9 lines of 1000 bytes, 8 fit.
    let log = "(call $host_log (i32.const 1) (i32.const 2048) (i32.const 1000))".repeat(9);
    let handle = format!(
        "(memory.fill (i32.const 2048) (i32.const 76) (i32.const 1000)) {log}
        (call $sendall (i32.const 100) (i32.const 2))"
    );
    let fixture = Fixture { handle: &handle, ..FIXTURE };
    for (options, logged) in [(&[][..], 8), (&["--log-bytes", "9000"], 9)] {
        let mut served = serve_hostile(&fixture, options);
        assert_eq!(ask(&served.server, b"x"), b"ok");
        served.server.stop().unwrap();
        let log = served.server.log();
        let count = |text: &str| log.iter().filter(|line| line.contains(text)).count();
        assert_eq!(count("LLLL"), logged, "{log:#?}");
        assert_eq!(count("reason=\"log-bytes\""), usize::from(logged < 9), "{log:#?}");
    }
}

#[test]
fn the_jail_is_required_to_compile_and_to_serve_from_forked_processes() {
    if !is_available() {
        return;
    }
    // The script makes `landlock_create_ruleset` fail, as on an older kernel.
    let without_landlock = |options: &[&str]| {
        let mut command = Command::new("python3");
        command.arg(build::root().join("tests/all/old_kernel.py")).arg("landlock");
        command.arg(build::host().unwrap()).args(["serve", "--bind", "tcp://127.0.0.1:0"]);
        command.env("XDG_CACHE_HOME", build::root().join("target/tests-cache"));
        Server::start(command.args(HOSTILE).args(options), 1)
    };
    let refused = |options: &[&str]| without_landlock(options).err().unwrap().to_string();
    let missing = "this machine has no landlock for the jail";
    for mode in [&["--concurrency", "threading"][..], &["--concurrency", "forking"]] {
        let said = refused(&[&["--no-cache"], mode].concat());
        assert!(said.contains("the compiler process ended early"), "{said}");
        assert!(said.contains(missing) && said.lines().count() == 1, "{said}");
    }
    // Once the handler is compiled, a kernel without that part of the jail loads it.
    drop(Server::start(serve().args(HOSTILE), 1).unwrap());
    for mode in [&["--concurrency", "forking"][..], &["--workers", "2"]] {
        let said = refused(mode);
        assert!(said.contains(missing) && !said.contains("compiles"), "{said}");
        let server = without_landlock(&[mode, &["--jail", "try"]].concat()).unwrap();
        assert_eq!(ask(&server, b"tried"), b"TRIED", "{mode:?}");
    }

    let echo = build::guest("rust", "echo").unwrap();
    for (options, seccomp) in [(&[][..], "2"), (&["--jail", "off"], "0")] {
        let mut command = serve();
        command.arg(&echo).args(HOSTILE).args(["--concurrency", "forking"]).args(options);
        let server = Server::start(&mut command, 1).unwrap();
        let _stream = in_flight(&server);
        for child in children(server.pid()).unwrap() {
            assert_eq!(status(child, "Seccomp").unwrap(), seccomp, "{options:?}");
        }
    }
}

#[test]
fn handlers_in_each_language_are_served_in_each_mode() {
    let mut modes = vec![&["--concurrency", "sync"][..], &["--concurrency", "threading"]];
    if is_available() {
        modes.extend([&["--concurrency", "forking"][..], &["--workers", "2"]]);
    }
    for (language, _) in LANGUAGES {
        let guest = build::guest(language, "upper").unwrap();
        for mode in &modes {
            for options in [&[][..], &["--memory", "64MiB"]] {
                let mut command = serve();
                command.arg(&guest).args(HOSTILE).args(*mode).args(options);
                let mut server = Server::start(&mut command, 1).unwrap();
                for _ in 0..2 {
                    assert_eq!(ask(&server, b"hostile"), b"HOSTILE", "{language} {mode:?}");
                }
                assert!(server.stop().unwrap().success());
            }
        }
    }
}

#[test]
fn profiles_do_not_share_code_and_explicit_options_override_them() {
    let cache = tempfile::tempdir().unwrap();
    let handler = File::new("entry.wat", FIXTURE.text().as_bytes());
    let compiled = |options: &[&str]| compiles(cache.path(), &handler.path, options);
    assert!(compiled(&["--profile", "standard"]));
    assert!(compiled(&["--profile", "hostile"]));
    assert!(!compiled(&["--profile", "hostile"]));
    assert!(!compiled(&[]));

    // The profile allows 16 MiB, and the option more.
    let large = Fixture { memory: "400", ..FIXTURE };
    let large = File::new("large.wat", large.text().as_bytes());
    let start = |options: &[&str]| Server::start(serve().arg(&large.path).args(options), 1);
    let error = start(&["--profile", "hostile"]).err().unwrap().to_string();
    assert!(error.contains("to begin with (26214400 in its memories, "), "{error}");
    assert!(error.contains("and may have 16777216"), "{error}");
    let server = start(&["--profile", "hostile", "--memory", "32MiB"]).unwrap();
    assert_eq!(ask(&server, b"-"), b"ok");
    start(&[]).unwrap();
}

#[test]
fn explicit_bounds_checks_trap_at_the_end_of_the_memory() {
    for (access, reason) in [
        ("(drop (i32.load (i32.const 65532)))", None),
        ("(drop (i32.load (i32.add (global.get $request) (i32.const 65533))))", Some("trap")),
        ("(drop (i32.load offset=4294967295 (global.get $request)))", Some("trap")),
    ] {
        for mode in ["threading", "forking"] {
            let fixture = Fixture { handle: access, ..FIXTURE };
            let options = ["--profile", "hostile", "--jail", "off", "--concurrency", mode];
            let mut served = fixture.serve(&options);
            ask(&served.server, b"x");
            if let Some(reason) = reason {
                let line = served.server.wait_for_log("Exception occurred").unwrap();
                assert!(line.contains(&format!("reason=\"{reason}\"")), "{line}");
            }
            assert_eq!(ask(&served.server, b"-"), b"ok");
        }
    }
}
