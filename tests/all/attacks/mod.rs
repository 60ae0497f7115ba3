//! Hostile and broken handlers and clients. Each costs only its own request: the log says why
//! the request ended and whose fault that was, the server answers a bystander all the while,
//! and the attack leaves no resource in use.
//!
//! All of them run in [`attack`]. A hostile handler is a row in a file of [`guests`], a
//! hostile client is a test in a file of [`clients`]. `cargo test -- --list` shows their
//! names.

mod clients;
mod guests;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::{Server, TIMEOUT, wait_until};
use socketserver_tests::procfs::{children, switches_if_asleep};
use socketserver_tests::usage::Usage;

/// The number of times that an attack runs. The first may leave a cache or a thread that is
/// kept; what the later ones add is a leak.
const ROUNDS: usize = 3;

/// The memory that the last round may leave beyond the first: noise of the allocators, of two
/// processes if there are workers.
const NOISE: u64 = 6 << 20;

/// The descriptors that a worker may have more after its first request, with which it starts a
/// thread for fibers: its epoll and its bell. Three attacks of two clients leave more if each
/// leaves one.
const DESCRIPTORS_OF_A_WORKER: usize = 2;

/// The threads that there may be beyond those after the first round. The server keeps idle
/// threads for a while, and a thread that still ends its request cannot take the next one.
const SPARE_THREADS: usize = 2;

/// The options for fibers, in one process and in several.
const FIBERS: &[&str] = &["--concurrency", "fibers"];
const FIBERS_IN_WORKERS: &[&str] = &["--workers", "2", "--concurrency", "fibers"];

/// Runs a test in threads, in fibers, and in fibers of workers, at the same time. The test is
/// given the options.
fn in_modes(test: impl Fn(&[&str]) + Sync) {
    thread::scope(|scope| {
        for mode in [&[][..], FIBERS, FIBERS_IN_WORKERS] {
            let test = &test;
            scope.spawn(move || {
                // This is shown if the test fails.
                println!("{mode:?}");
                test(mode);
            });
        }
    });
}

/// Runs `round` against `server` three times while `bystander` asks in a loop.
///
/// Each answer to the bystander must be right, and the server must answer at least one question
/// that the bystander sends after each attack has begun. No line of the log may be about the
/// bystander. After each round the server must hold no more descriptors and children than
/// before, and after the later rounds no more threads and memory than after the first.
///
/// `round` is given its number, from 0, for attacks that need a name for each round.
pub fn attack(
    server: &mut Server,
    bystander: &Bystander,
    mut round: impl FnMut(&mut Server, usize),
) {
    let pid = server.pid();
    let workers = wait_for_workers(pid);
    // The first request starts the threads that the server keeps.
    bystander.ask().unwrap();
    let mut quiet = usage_at_rest(pid);
    quiet.descriptors += workers * DESCRIPTORS_OF_A_WORKER;
    let mut first: Option<Usage> = None;
    for number in 0..ROUNDS {
        run_beside(bystander, || round(server, number));
        let first =
            *first.get_or_insert_with(|| wait_for_release(pid, &quiet, usize::MAX, u64::MAX));
        let threads = first.threads + SPARE_THREADS * (1 + quiet.children);
        wait_for_release(pid, &quiet, threads, first.memory + NOISE);
    }
    let about_bystander: Vec<_> =
        server.log().iter().filter(|line| Bystander::is_named_in(line)).collect();
    assert!(about_bystander.is_empty(), "a bystander was harmed: {about_bystander:#?}");
}

/// Waits until the server has its workers, and returns their number: 0 if it has none.
fn wait_for_workers(pid: u32) -> usize {
    // The broker is a child too, but a program of its own.
    let arguments = |pid| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let of_server = arguments(pid);
    let mut words = of_server.split(|byte| *byte == 0);
    if !words.any(|word| word == b"--workers".as_slice()) {
        return 0;
    }
    let count = str::from_utf8(words.next().unwrap()).unwrap().parse::<usize>().unwrap();
    let is_worker = |child: &u32| arguments(*child) == of_server;
    let workers = || children(pid).unwrap().into_iter().filter(is_worker);
    wait_until("the server has its workers", || workers().count() == count);
    // They hold what they need from the start, and the server what it needs to watch them.
    workers().chain([pid]).for_each(wait_until_idle);
    count
}

/// Runs `attack` while `bystander` asks in a loop in another thread.
fn run_beside(bystander: &Bystander, attack: impl FnOnce()) {
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                bystander.ask().unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
                // Many such tests may run on few processors.
                thread::sleep(Duration::from_millis(1));
            }
        });
        // If the attack panics, the scope still waits for the bystander, which must end.
        let _over = SetWhenDropped(&over);
        let begun = answered.load(Ordering::Relaxed);
        attack();
        // The bystander asked for the second of these answers after the attack began.
        wait_until("the server answers the bystander", || {
            answered.load(Ordering::Relaxed) >= begun + 2 || asking.is_finished()
        });
    });
}

/// Sets a flag when it is dropped, also by a panic.
pub struct SetWhenDropped<'a>(pub &'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until the number of descriptors and children is stable, and returns what the server
/// holds then.
fn usage_at_rest(pid: u32) -> Usage {
    let mut last = Usage::default();
    wait_until("the usage of the server is stable", || {
        let now = Usage::of_process_and_children(pid).unwrap();
        let is_stable = (now.descriptors, now.children) == (last.descriptors, last.children);
        last = now;
        is_stable
    });
    last
}

/// Waits until the server holds no more descriptors and children than in `quiet`, and no more
/// threads and memory than these limits. Returns what the server holds then.
fn wait_for_release(pid: u32, quiet: &Usage, threads: usize, memory: u64) -> Usage {
    let begun = Instant::now();
    loop {
        let now = Usage::of_process_and_children(pid).unwrap();
        if now.descriptors <= quiet.descriptors
            && now.children <= quiet.children
            && now.threads <= threads
            && now.memory <= memory
        {
            return now;
        }
        assert!(
            begun.elapsed() < TIMEOUT,
            "the attack left resources in use: {now:?}; before it there were {quiet:?}, and {threads} threads and {memory} bytes of memory are allowed"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until no thread of the process runs.
pub fn wait_until_idle(pid: u32) {
    let mut last = None;
    wait_until("every thread of the server sleeps", || {
        let before = std::mem::replace(&mut last, switches_if_asleep(pid).unwrap());
        last.is_some() && last == before
    });
}

/// Checks that `line` reports a failed request with this reason and blame.
pub fn assert_reported(line: &str, reason: &str, blame: &str) {
    assert!(line.contains(&format!("reason=\"{reason}\"")), "not {reason}: {line}");
    assert!(line.contains(&format!("blame=\"{blame}\"")), "not {blame}: {line}");
}

/// Returns the first line of the log that contains `text`, or waits for it.
pub fn logged(server: &mut Server, text: &str) -> String {
    let found = server.log().iter().find(|line| line.contains(text)).cloned();
    found.unwrap_or_else(|| server.wait_for_log(text).unwrap())
}
