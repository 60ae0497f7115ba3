//! Tests with children that do not do as processes of handlers do.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::process::Process;
use super::slot::{Next, Outcome, Slot, Stamp};
use crate::config::Handler;
use crate::options::parse_serve;

/// Starts a shell whose standard input is the other side of a door.
fn shell(script: &str) -> Process {
    let (door, other) = UnixDatagram::pair().unwrap();
    door.set_nonblocking(true).unwrap();
    #[allow(clippy::zombie_processes, reason = "the tests wait for its number")]
    let child = Command::new("sh").args(["-c", script]).stdin(OwnedFd::from(other)).spawn();
    Process::of_child(&child.unwrap(), door, 7).unwrap()
}

/// Waits for a report, and hears it.
fn hear(process: &mut Process) {
    poll(&mut [PollFd::from_borrowed_fd(process.door(), PollFlags::IN)], None).unwrap();
    process.hear();
}

fn handler() -> Handler {
    let arguments = ["h.wasm", "--bind=tcp://127.0.0.1:0"].map(str::to_owned).to_vec();
    let options = parse_serve(&arguments).unwrap();
    let place = serde_json::from_str("{\"file\":\"c.toml\",\"line\":1,\"column\":1}").unwrap();
    Handler { name: "h".to_owned(), folder: PathBuf::from("/"), place, arguments, options }
}

fn next(process: Process) -> Next {
    Next { process, handler: handler(), stamp: Stamp::default(), sockets: Vec::new() }
}

#[test]
fn a_process_that_ignores_sigterm_is_killed_when_its_time_is_over() {
    let mut process = shell("trap '' TERM; echo READY=1 >&0; exec sleep 3600");
    hear(&mut process);
    assert!(process.is_ready && process.deadline.is_none());
    process.end(Duration::from_hours(1));
    let until = process.deadline.unwrap();
    assert!(!process.kill_if_late(Instant::now()) && process.has_ended().is_none());
    assert!(process.kill_if_late(until));
    process.wait();
    assert_eq!(process.has_ended().unwrap().signal(), Some(9));
    // Its number may be that of another process now, which is sent nothing.
    process.kill();
}

#[test]
fn a_process_that_only_says_that_it_ends_is_killed_too() {
    let mut process = shell("trap '' TERM; printf 'READY=1\nSTOPPING=1' >&0; exec sleep 3600");
    hear(&mut process);
    process.end(Duration::ZERO);
    assert!(process.kill_if_late(Instant::now()));
    process.wait();
    assert_eq!(process.has_ended().unwrap().signal(), Some(9));
}

#[test]
fn a_process_that_asks_for_more_and_more_time_is_not_given_it_once_it_serves() {
    let mut process = shell("printf 'READY=1\nEXTEND_TIMEOUT_USEC=1' >&0; read x");
    hear(&mut process);
    assert_eq!(process.deadline, None);
    process.kill();
    process.wait();
    let mut process = shell("echo EXTEND_TIMEOUT_USEC=18446744073709551615 >&0; read x");
    hear(&mut process);
    let left = process.deadline.unwrap().saturating_duration_since(Instant::now());
    assert!(left <= Duration::from_hours(24), "{left:?}");
    process.kill();
    process.wait();
}

#[test]
fn a_process_that_dies_once_it_is_ready_takes_no_place() {
    let mut slot = Slot::new(handler());
    let mut old = shell("echo READY=1 >&0; exec sleep 3600");
    hear(&mut old);
    slot.current = Some(old);
    let mut new = shell("echo READY=1 >&0; exit 3");
    new.wait();
    assert_eq!(new.has_ended(), Some(ExitStatus::from_raw(3 << 8)));
    slot.next = Some(next(new));
    let mut ending = Vec::new();
    let outcome = slot.look_at_next("h", Instant::now(), &mut ending);
    let Some(Outcome::Failed { why, .. }) = outcome else { panic!("it serves") };
    assert_eq!(why, "generation 7 ended with exit status: 3, as soon as it served");
    let current = slot.current.as_mut().unwrap();
    assert!(current.has_ended().is_none() && current.deadline.is_none() && ending.is_empty());
    // One that dies later is started anew, after a pause.
    current.kill();
    current.wait();
    assert!(slot.look_at_current("h", Instant::now()));
    slot.schedule("h", Instant::now());
    assert!(slot.restart_at.is_some() && slot.failures == 1);
}
