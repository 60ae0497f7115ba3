use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;

use crossbeam_utils::CachePadded;

use super::numbers::get_all;
use super::*;

/// A process id that no process has.
const NO_PROCESS: u64 = u32::MAX as u64 / 2;

fn client() -> Address {
    "192.0.2.1:50".parse::<std::net::SocketAddr>().unwrap().into()
}

fn request() -> Request {
    Request::new(std::os::unix::net::UnixStream::pair().unwrap().0)
}

#[test]
fn what_is_counted_is_shown() {
    let counters = Arc::new(Counters::new().unwrap());
    let error = |reason| HandlerError::new(reason, "why");
    for _ in 0..5 {
        counters.accepted(&request(), &client());
    }
    counters.ended(None);
    counters.child_failed(&error(Reason::Child));
    counters.child_failed(&error(Reason::CpuTime));
    counters.refused(Refusal::Deny);
    counters.dropped(3, DropReason::OwnAddress);
    counters.instance_used();
    let shown = counters.to_json();
    assert_eq!(
        shown["requests"],
        json!({
            "accepted": 5, "in_flight": 2, "done": 1,
            "failed": { "child": 1, "cpu-time": 1 },
            "refused": { "deny": 1 },
        })
    );
    assert_eq!(shown["datagrams_dropped"], json!({ "own-address": 3 }));
    assert_eq!(shown["instances"], 1);
    let text = counters.to_text();
    assert!(text.contains("\n    cpu-time             1\n"), "{text}");
    assert!(text.contains("\n  in flight              2\n"), "{text}");
}

#[test]
fn the_requests_in_flight_of_a_dead_worker_have_failed() {
    let counters = Arc::new(Counters::new().unwrap());
    let row = &counters.shared.workers[7];
    set(&counters.shared.used, 8);
    assert!(replace(&row.worker, 0, NO_PROCESS));
    add(&row.in_flight, 3);
    let shown = counters.to_json();
    assert_eq!(shown["requests"]["failed"], json!({ "worker": 3 }));
    assert_eq!(shown["requests"]["in_flight"], 0);
    assert_eq!(shown["children"]["workers"], 0);
}

#[test]
fn numbers_that_a_process_made_up_are_wrong_and_block_nothing() {
    let counters = Arc::new(Counters::new().unwrap());
    set(&counters.shared.used, u64::MAX);
    assert!(replace(&counters.shared.workers[7].worker, 0, NO_PROCESS));
    for row in &counters.shared.workers[7..10] {
        add(&row.in_flight, u64::MAX);
    }
    Reason::Trap.count(&counters.shared.failed, 1);
    let (done, shown) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(counters.to_text()));
    let shown = shown.recv_timeout(Duration::from_mins(1)).unwrap();
    assert!(shown.contains(&format!("worker               {}\n", u64::MAX)), "{shown}");
}

#[test]
fn each_variant_has_a_counter_of_its_own() {
    fn check<T: Counted + std::fmt::Debug>(counters: &[AtomicU64]) {
        assert_eq!(T::ALL.len(), counters.len());
        for variant in T::ALL {
            variant.count(counters, 1);
        }
        assert!(counters.iter().all(|counter| get(counter) == 1));
        assert_eq!(T::to_json(&get_all(counters)).len(), T::ALL.len(), "names are unique");
    }
    let counters = Arc::new(Counters::new().unwrap());
    check::<Reason>(&counters.shared.failed);
    check::<Refusal>(&counters.shared.refused);
    check::<DropReason>(&counters.shared.dropped);
}

#[test]
fn each_counter_is_explained() {
    fn names(prefix: &str, value: &Value, found: &mut Vec<String>) {
        match value.as_object() {
            Some(inner) if inner.is_empty() => found.push(format!("{prefix}*")),
            Some(inner) => {
                for (name, value) in inner {
                    let separator = if value.is_object() { "." } else { "" };
                    names(&format!("{prefix}{name}{separator}"), value, found);
                }
            }
            None => found.push(prefix.to_owned()),
        }
    }
    let mut counted = Vec::new();
    names("", &Counters::new().unwrap().to_json(), &mut counted);
    let mut explained: Vec<_> = EXPLANATIONS.iter().map(|(name, _)| *name).collect();
    counted.sort();
    explained.sort_unstable();
    assert_eq!(counted, explained);
}

#[test]
fn a_worker_counts_in_its_own_cache_lines() {
    let counters = Arc::new(Counters::new().unwrap());
    counters.forked(true);
    counters.accepted(&request(), &client());
    let shown = counters.to_json();
    assert_eq!(shown["children"], json!({ "forked": 1, "workers": 1 }));
    assert_eq!(shown["requests"]["in_flight"], 1);
    assert_eq!(get(&counters.shared.workers[0].in_flight), 1);
    assert!(size_of::<ProcessCounters>() <= 64);
    assert!(align_of::<CachePadded<ProcessCounters>>() >= 64);
}

#[test]
fn another_program_sees_who_is_in_flight_and_what_has_failed() {
    let file = Counters::file().unwrap();
    let counters = Arc::new(Counters::in_file(file.as_fd()).unwrap());
    let other = Counters::in_file(file.as_fd()).unwrap();
    assert_eq!(other.phase(), Phase::Starting);
    counters.serves(40);
    let request = request();
    counters.accepted(&request, &client());
    assert_eq!((other.phase(), other.capacity()), (Phase::Serving, 40));
    assert_eq!(other.oldest_in_flight()[0].peer, "192.0.2.1:50");
    let error = HandlerError::new(Reason::Trap, "why");
    counters.failed(&client(), &error);
    counters.finished(&request, Some(&error));
    drop(request);
    assert!(other.oldest_in_flight().is_empty());
    assert_eq!(other.last_failures()[0].reason, "trap");
    let mut totals = other.totals();
    assert_eq!(totals.usage.duration.counts.iter().sum::<u64>(), 1);
    totals.add(&other.totals());
    assert_eq!(totals.to_json()["requests"]["failed"], json!({ "trap": 2 }));
    counters.drains();
    assert_eq!(other.phase(), Phase::Draining);
    assert!(Counters::in_file(std::fs::File::open("/dev/null").unwrap().as_fd()).is_err());
}
