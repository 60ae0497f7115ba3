//! `run_in_child`: code in its own process. It forks, so this test has no harness, which
//! has threads.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use socketserver::run_in_child as run_in_child_within;

/// Runs `work` without a limit.
fn run_in_child(
    work: impl FnOnce(BorrowedFd<'_>) -> Result<(), String>,
) -> std::io::Result<Result<(), String>> {
    run_in_child_within(None, work)
}

/// Waits without end.
fn hold_on() -> ! {
    loop {
        thread::park();
    }
}

fn main() {
    // Its changes stay in the child.
    let (mut number, parent) = (1, getpid());
    let done = run_in_child(|_| {
        number += 1;
        if getpid() == parent { Err("the same process".to_owned()) } else { Ok(()) }
    });
    assert_eq!(done.unwrap(), Ok(()));
    assert_eq!(number, 1);

    assert_eq!(run_in_child(|_| Err("why".to_owned())).unwrap(), Err("why".to_owned()));
    let long = run_in_child(|_| Err("x".repeat(1 << 20))).unwrap();
    assert_eq!(long.unwrap_err().len(), 16 << 10);

    // Its error comes through the descriptor that it gets, even if it closes all others.
    let told = run_in_child(|told| {
        assert!(told.as_raw_fd() > 2);
        Err(told.as_raw_fd().to_string())
    });
    assert!(told.unwrap().unwrap_err().parse::<i32>().unwrap() > 2);

    let panicked = run_in_child(|_| panic!("on purpose")).unwrap_err().to_string();
    assert_eq!(panicked, "its process ended with 101");
    let killed = run_in_child(|_| {
        kill_process(getpid(), Signal::KILL).unwrap();
        Ok(())
    });
    assert_eq!(killed.unwrap_err().to_string(), "its process was ended by signal 9");

    // It may not end, with its end of the pipe open or closed, or send a longer error than
    // is taken. Work that ends in time succeeds.
    let soon = Some(Duration::from_millis(50));
    for killed in [
        run_in_child_within(soon, |_| hold_on()),
        run_in_child_within(soon, |told| {
            // SAFETY: no code uses it any more.
            drop(unsafe { OwnedFd::from_raw_fd(told.as_raw_fd()) });
            hold_on()
        }),
        run_in_child_within(soon, |told| {
            while rustix::io::write(told, b"more of it").is_ok() {}
            hold_on()
        }),
    ] {
        let killed = killed.unwrap_err();
        assert_eq!(killed.kind(), ErrorKind::TimedOut);
        let said = killed.to_string();
        assert!(said.starts_with("its process was still there after "), "{said}");
        assert!(said.ends_with("s, and was killed"), "{said}");
    }
    let long = Some(Duration::MAX);
    assert_eq!(
        run_in_child_within(long, |_| Err("why".to_owned())).unwrap(),
        Err("why".to_owned())
    );

    // No zombie is left.
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    assert_eq!(children, "");

    let (ends, end) = mpsc::channel::<()>();
    let thread = thread::spawn(move || end.recv());
    let refused = run_in_child(|_| Ok(())).unwrap_err().to_string();
    assert_eq!(refused, "only a process with one thread can fork, and this one has 2");
    drop(ends);
    let _ = thread.join().unwrap();
    println!("run_in_child: ok");
}
