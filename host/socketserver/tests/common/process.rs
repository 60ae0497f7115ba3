//! Facts from `/proc`, and child processes.

use std::fs;
use std::os::fd::RawFd;
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{next, wait_until};

/// Returns the thread id of this thread.
pub fn thread_number() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// Returns true if a thread, `PID/task/TID`, blocks, and not just for a moment.
pub fn is_blocked(task: &str) -> bool {
    (0..10).all(|_| {
        thread::sleep(Duration::from_millis(1));
        let stat = fs::read_to_string(format!("/proc/{task}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('S'))
    })
}

pub fn wait_until_blocked(thread: i32) {
    let task = format!("self/task/{thread}");
    wait_until("the thread waits", || is_blocked(&task));
}

/// Runs `f` in a thread, and returns when the thread blocks or has ended.
pub fn until_blocked<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    let (sender, number) = mpsc::channel();
    let thread = thread::spawn(move || {
        sender.send(thread_number()).unwrap();
        f()
    });
    let task = format!("self/task/{}", next(&number));
    wait_until("the thread waits", || thread.is_finished() || is_blocked(&task));
    thread
}

/// Returns the number of threads that run requests or wait for one.
pub fn request_threads() -> usize {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.trim() == "request")
        .count()
}

pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Returns the flags of a descriptor, as for `open(2)` and `fcntl(2)`.
pub fn flags(fd: RawFd) -> u32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap()
}

pub const O_NONBLOCK: u32 = 0o4000;
pub const O_CLOEXEC: u32 = 0o200_0000;

/// Runs `body` in its own process: the test named `test` in another run of this program.
/// Returns its standard output and standard error.
pub fn in_child(test: &str, body: impl FnOnce()) -> (String, String) {
    in_child_of(Command::new(std::env::current_exe().unwrap()), test, body)
}

/// Runs `body` as [`in_child`] does, in its own network namespace. Its loopback interface
/// is up and has IPv6, and each line of `setup` is a command for `ip`. Without root it is
/// skipped with a message.
pub fn in_namespace(test: &str, setup: &str, body: impl FnOnce()) {
    let may = Command::new("unshare").args(["-n", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        println!("skipped: only root may make a network namespace");
        return;
    }
    let mut command = Command::new("unshare");
    command.arg("-n").arg(std::env::current_exe().unwrap());
    in_child_of(command, test, || {
        for line in ["link set lo up"].into_iter().chain(setup.lines()) {
            let done = Command::new("ip").args(line.split_whitespace()).status();
            assert!(done.unwrap().success(), "ip {line}");
        }
        wait_until("the links are up, and their addresses can be used", || {
            let said = |what: &str| {
                let output = Command::new("ip").args(["-o", what]).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            };
            let is_up = |line: &str| line.contains("LOOPBACK") || line.contains("state UP");
            said("link").lines().all(is_up) && !said("addr").contains("tentative")
        });
        body();
    });
}

fn in_child_of(mut command: Command, test: &str, body: impl FnOnce()) -> (String, String) {
    const CHILD: &str = "SOCKETSERVER_TEST_CHILD";
    const DONE: &str = "the child is done";
    if std::env::var(CHILD).is_ok_and(|child| child == test) {
        body();
        println!("{DONE}");
        std::process::exit(0);
    }
    let child = command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .env_remove("RUST_MIN_STACK")
        .output()
        .unwrap();
    let stdout = String::from_utf8(child.stdout).unwrap();
    let stderr = String::from_utf8(child.stderr).unwrap();
    assert!(
        child.status.success() && stdout.contains(DONE),
        "{}\n{stdout}\n{stderr}",
        child.status
    );
    (stdout, stderr)
}
