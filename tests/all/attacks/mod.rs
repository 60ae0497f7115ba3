//! Handlers and clients that mean harm, or are broken. Whatever one does, it
//! costs its own request: the log says why it ended and whose fault that was, a
//! bystander is answered all the while, and nothing is left behind.
//!
//! [`attack`] is what all of them have in common. A hostile handler is a row in
//! one of the files of [`guests`], a hostile client a test in one of [`clients`];
//! each has a name of its own, which `cargo test -- --list` shows.

mod clients;
mod guests;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::{PATIENCE, Server};
use socketserver_tests::usage::Usage;

/// How often an attack happens. What the first time leaves behind may be a cache
/// or a thread that is kept; what the others add to it is a leak.
const ROUNDS: usize = 3;

/// How much more memory the last round may leave than the first: the noise of
/// allocators, of two processes where there are workers.
const NOISE: u64 = 6 << 20;

/// How many more threads than after the first round may be there. Those that have
/// finished are kept for a while, and one that is about to finish is not there
/// yet for the next request.
const SPARE_THREADS: usize = 2;

/// Lets `round` attack `server`, three times, while `bystander` asks it in a
/// loop. The bystander must be answered correctly each time, and at least once
/// after each attack began; nobody may fail because of it; and after each round
/// the server must hold no descriptor and no child more than before, and after the
/// later ones no more threads and memory than after the first.
///
/// The number of the round, from 0, is for attacks that need a name of their own.
pub fn attack(
    server: &mut Server,
    bystander: &Bystander,
    mut round: impl FnMut(&mut Server, usize),
) {
    let pid = server.pid();
    // The first request starts what is kept from then on.
    bystander.ask().unwrap();
    let quiet = settled(pid);
    let mut first: Option<Usage> = None;
    for number in 0..ROUNDS {
        beside(bystander, || round(server, number));
        let first = *first.get_or_insert_with(|| holds_no_more(pid, &quiet, usize::MAX, u64::MAX));
        let threads = first.threads + SPARE_THREADS * (1 + quiet.children);
        holds_no_more(pid, &quiet, threads, first.memory + NOISE);
    }
    let about_bystander: Vec<_> =
        server.log().iter().filter(|line| Bystander::is_named_in(line)).collect();
    assert!(about_bystander.is_empty(), "a bystander was harmed: {about_bystander:#?}");
}

/// Does `attack` while `bystander` asks in a loop, in another thread.
fn beside(bystander: &Bystander, attack: impl FnOnce()) {
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                bystander.ask().unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
                // There may be many such tests on few processors.
                thread::sleep(Duration::from_millis(1));
            }
        });
        // Also if the attack panics: the scope waits for the bystander.
        let _over = SetWhenDropped(&over);
        let begun = answered.load(Ordering::Relaxed);
        attack();
        // Of two answers the second was asked for after the attack had begun.
        wait_until("the bystander is answered", || {
            answered.load(Ordering::Relaxed) >= begun + 2 || asking.is_finished()
        });
    });
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the server holds when its last request is over.
fn settled(pid: u32) -> Usage {
    let mut last = Usage::default();
    wait_until("the server is quiet", || {
        let now = Usage::with_children(pid).unwrap();
        let settled = (now.descriptors, now.children) == (last.descriptors, last.children);
        last = now;
        settled
    });
    last
}

/// Waits until the server holds no more than it may, and returns what that is.
fn holds_no_more(pid: u32, quiet: &Usage, threads: usize, memory: u64) -> Usage {
    let begun = Instant::now();
    loop {
        let now = Usage::with_children(pid).unwrap();
        if now.descriptors <= quiet.descriptors
            && now.children <= quiet.children
            && now.threads <= threads
            && now.memory <= memory
        {
            return now;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "something is left behind: {now:?}; before the attack it was {quiet:?}, and {threads} threads and {memory} bytes of memory are allowed"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// Looks again and again, for as long as a test may take.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not so: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The process uses no more CPU time, sooner or later.
pub fn is_idle(pid: u32) {
    // In ticks, see proc_pid_stat(5).
    let used = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, after_name) = stat.rsplit_once(") ").unwrap();
        after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    };
    let mut last = u64::MAX;
    wait_until("the server rests", || {
        let before = std::mem::replace(&mut last, used());
        thread::sleep(Duration::from_millis(200));
        last == before
    });
}

/// Whether `line` is the report of a failed request, for that reason and by that
/// fault.
pub fn assert_reported(line: &str, reason: &str, blame: &str) {
    assert!(line.contains(&format!("reason=\"{reason}\"")), "not {reason}: {line}");
    assert!(line.contains(&format!("blame=\"{blame}\"")), "not {blame}: {line}");
}

/// The line of the log that has this text, which may have been read already.
pub fn logged(server: &mut Server, text: &str) -> String {
    let found = server.log().iter().find(|line| line.contains(text)).cloned();
    found.unwrap_or_else(|| server.wait_for_log(text).unwrap())
}
