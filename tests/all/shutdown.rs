//! SIGINT and SIGTERM end the server.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use socketserver_tests::build;
use socketserver_tests::process::{send_signal, wait_until};
use socketserver_tests::procfs::children;

use crate::attacks::SetWhenDropped;
use crate::client::{echo, expect, in_flight, read_to_end};
use crate::fixture::{MODES, host};

#[test]
fn an_idle_server_ends_at_once_with_exit_code_0() {
    for signal in ["TERM", "INT"] {
        for mode in MODES {
            // A signal that did not wake the loop would take effect after a day.
            let mut server = echo(&[mode, &["--poll-interval", "86400"]].concat());
            drop(in_flight(&server));
            server.signal(signal).unwrap();
            assert_eq!(server.wait().unwrap().code(), Some(0), "{signal} {mode:?}");
        }
    }
}

#[test]
fn b44_b52_requests_in_flight_are_finished_and_new_ones_refused() {
    for mode in &MODES[1..] {
        let mut server = echo(&[*mode, &["--grace", "1h"]].concat());
        let mut stream = in_flight(&server);
        server.signal("TERM").unwrap();
        server.wait_for_log("ending").unwrap();
        while TcpStream::connect(server.address()).is_ok() {}
        stream.write_all(b"2").unwrap();
        expect(&mut stream, b"2");
        drop(stream);
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?}");
    }
}

#[test]
fn in_sync_mode_the_running_request_is_finished() {
    let mut server = echo(&["--concurrency", "sync", "--grace", "1h"]);
    let mut stream = in_flight(&server);
    server.signal("TERM").unwrap();
    server.wait_for_log("ending").unwrap();
    assert!(TcpStream::connect(server.address()).is_err());
    stream.write_all(b"2").unwrap();
    expect(&mut stream, b"2");
    drop(stream);
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

/// The signal comes when the socket listens and the loop has not begun: the server waits for
/// room in standard output, a full pipe, for the line that says where it listens.
#[test]
fn in_sync_mode_a_signal_before_the_loop_begins_ends_the_server_with_exit_code_0() {
    wait_until("a signal comes before the loop begins", || {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let (_reader, stdout) = full_pipe();
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", "echo").unwrap());
        command.args(["--concurrency", "sync", "--bind", &format!("unix://{}", socket.display())]);
        let mut server = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        // The server starts this thread last, and then prints the line.
        wait_until("the server is about to print", || {
            let threads = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
            let names =
                threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")));
            names.filter_map(Result::ok).any(|name| name.trim() == "grace")
        });
        let mut client = UnixStream::connect(&socket).unwrap();
        client.write_all(b"x").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let pid = Pid::from_raw(server.id().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"x", "the client that waited was not served");
        let (code, mut log) = (server.wait().unwrap().code(), String::new());
        server.stderr.unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(code, Some(0), "{log}");
        // On a slow machine the signal may have come later.
        let (ending, printed) = (log.find("ending: "), log.find("standard output did not take"));
        ending.zip(printed).is_some_and(|(ending, printed)| ending < printed)
    });
}

/// Returns a pipe that has no room.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    while writer.write(&[0; 1 << 12]).is_ok() {}
    (reader, writer)
}

#[test]
fn requests_that_outlast_the_grace_are_cut_off() {
    for mode in MODES {
        let mut server = echo(&[mode, &["--grace", "100ms"]].concat());
        let mut stream = in_flight(&server);
        server.signal("TERM").unwrap();
        server.wait_for_log("they are cut off").unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?}");
        assert_eq!(read_to_end(&mut stream), b"");
    }
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut server = echo(&["--grace", "1h"]);
        let _stream = in_flight(&server);
        server.signal(signal).unwrap();
        server.wait_for_log("ending").unwrap();
        server.signal(signal).unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn after_a_second_signal_the_counters_are_printed() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        for mode in MODES {
            let mut server = echo(&[mode, &["--grace", "1h", "--stats"]].concat());
            let mut stream = in_flight(&server);
            server.signal(signal).unwrap();
            server.wait_for_log("ending").unwrap();
            server.signal(signal).unwrap();
            assert_eq!(server.wait().unwrap().code(), Some(code), "{signal} {mode:?}");
            let counted = server.log().iter().filter(|line| line.contains("in flight  ")).count();
            assert_eq!(counted, 1, "{signal} {mode:?}: {:#?}", server.log());
            assert_eq!(read_to_end(&mut stream), b"");
        }
    }
}

#[test]
fn a_signal_to_all_processes_leaves_requests_their_grace() {
    // As systemd's KillMode=control-group sends it, or a terminal.
    for signal in ["TERM", "INT"] {
        for mode in &MODES[2..] {
            let mut server = echo(&[*mode, &["--grace", "1h"]].concat());
            let mut stream = in_flight(&server);
            for child in children(server.pid()).unwrap() {
                send_signal(child, signal).unwrap();
            }
            server.signal(signal).unwrap();
            server.wait_for_log("ending").unwrap();
            stream.write_all(b"2").unwrap();
            expect(&mut stream, b"2");
            drop(stream);
            assert_eq!(server.wait().unwrap().code(), Some(0), "{signal} {mode:?}");
        }
    }
}

#[test]
fn stopped_children_do_not_outlive_the_server() {
    for mode in &MODES[2..] {
        let mut server = echo(&[*mode, &["--grace", "10ms"]].concat());
        let _stream = in_flight(&server);
        let stopped = children(server.pid()).unwrap();
        for child in &stopped {
            send_signal(*child, "STOP").unwrap();
        }
        server.signal("TERM").unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?}");
        let is_gone = |child: &u32| !Path::new(&format!("/proc/{child}")).exists();
        wait_until("the children are gone", || stopped.iter().all(is_gone));
    }
}

/// A child asks the kernel to kill it when its parent ends. One that is stopped before that must
/// end too.
#[test]
fn children_that_are_stopped_when_they_begin_do_not_outlive_the_server() {
    const CHILDREN: usize = 200;
    let options = ["--concurrency", "forking", "--max-children", "200", "--grace", "10ms"];
    let mut server = echo(&options);
    let (pid, done) = (server.pid(), AtomicBool::new(false));
    let all = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut all = BTreeSet::new();
            while all.len() < CHILDREN && !done.load(Ordering::Relaxed) {
                for child in children(pid).unwrap() {
                    if all.insert(child) {
                        let child = Pid::from_raw(child.cast_signed()).unwrap();
                        kill_process(child, Signal::STOP).unwrap();
                    }
                }
            }
            all
        });
        let _over = SetWhenDropped(&done);
        let clients: Vec<_> = (0..CHILDREN).map(|_| server.connect().unwrap()).collect();
        wait_until("each child is stopped", || sender.is_finished());
        drop(clients);
        sender.join().unwrap()
    });
    server.signal("TERM").unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
    let is_gone = |child: &u32| !Path::new(&format!("/proc/{child}")).exists();
    wait_until("the children are gone", || all.iter().all(is_gone));
}

#[test]
fn the_server_does_not_wait_for_daemon_threads() {
    let (daemon, no_block) = (["--daemon-threads", "true"], ["--block-on-close", "false"]);
    let [sync, threading, forking, workers, fibers, fibers_in_workers] = MODES;
    for (mode, option) in [
        (sync, no_block),
        (threading, daemon),
        (threading, no_block),
        (forking, no_block),
        (workers, daemon),
        (workers, no_block),
        (fibers, daemon),
        (fibers, no_block),
        (fibers_in_workers, daemon),
        (fibers_in_workers, no_block),
    ] {
        let mut server = echo(&[mode, &option, &["--grace", "1h"]].concat());
        let mut stream = in_flight(&server);
        server.signal("TERM").unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode:?} {option:?}");
        assert_eq!(read_to_end(&mut stream), b"");
        // The log says that the server does not wait.
        let ending: Vec<_> = server.log().iter().filter(|line| line.contains("ending")).collect();
        assert_eq!(ending.len(), 1, "{ending:?}");
        assert!(ending[0].ends_with("requests in flight are not waited for"), "{ending:?}");
    }
}
