//! The timeouts of a request: the handler's own timeout, and the idle timeout and the wall
//! time of the operator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use common::{builder, connect, next_error, pair, read_all, recorder};
use socket2::SockRef;
use socketserver::{Blame, HandlerError, IdleTimeout, Request, WallTimeout};

const SHORT: Duration = Duration::from_millis(20);

fn idle_limit<T>(result: &io::Result<T>) -> Option<Duration> {
    let inner = result.as_ref().err()?.get_ref()?;
    inner.downcast_ref::<IdleTimeout>().map(|idle| idle.limit)
}

fn wall_limit<T>(result: &io::Result<T>) -> Option<Duration> {
    let inner = result.as_ref().err()?.get_ref()?;
    inner.downcast_ref::<WallTimeout>().map(|wall| wall.limit)
}

fn is_plain_timeout<T>(result: &io::Result<T>) -> bool {
    let timed_out = |error: &io::Error| error.kind() == ErrorKind::TimedOut;
    result.as_ref().err().is_some_and(timed_out) && idle_limit(result).is_none()
}

/// Fills the buffers on the way to the client.
fn fill(request: &Request) {
    request.settimeout(Some(Duration::ZERO));
    while request.send(&vec![0; 1 << 20]).is_ok() {}
    request.settimeout(None);
}

#[test]
fn b77_the_timeout_of_recv_begins_anew_with_each_call() {
    let (request, _client) = pair();
    request.settimeout(Some(SHORT));
    for _ in 0..3 {
        let begun = Instant::now();
        assert!(is_plain_timeout(&request.recv(1)));
        assert!(begun.elapsed() >= SHORT);
    }
}

/// The client reads a little at a time, so that no single `send` waits for as long as the
/// timeout.
#[test]
fn b77_the_timeout_of_sendall_is_one_for_the_whole_call() {
    let (request, mut client) = pair();
    SockRef::from(&client).set_recv_buffer_size(1 << 16).unwrap();
    request.settimeout(Some(Duration::from_millis(400)));
    let reading = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while client.read(&mut buffer).is_ok_and(|count| count > 0) {
            thread::sleep(Duration::from_millis(2));
        }
    });
    let begun = Instant::now();
    let sent = request.sendall(&vec![0; 128 << 20]);
    assert!(is_plain_timeout(&sent), "{sent:?} after {:?}", begun.elapsed());
    drop(request);
    reading.join().unwrap();
}

#[test]
fn b77_sendall_times_out_if_the_client_does_not_read() {
    let (request, _client) = pair();
    fill(&request);
    request.settimeout(Some(SHORT));
    assert!(is_plain_timeout(&request.sendall(b"x")));
}

#[test]
fn the_idle_timeout_has_its_own_reason() {
    let (request, _client) = pair();
    request.set_idle_timeout(Some(SHORT));
    let received = request.recv(1);
    assert_eq!(received.as_ref().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(idle_limit(&received), Some(SHORT));

    let (request, _client) = pair();
    fill(&request);
    request.set_idle_timeout(Some(SHORT));
    assert_eq!(idle_limit(&request.sendall(b"x")), Some(SHORT));
}

#[test]
fn the_client_is_to_blame_for_the_idle_timeout() {
    let (hooks, events) = recorder();
    let server = builder(|request| {
        request.set_idle_timeout(Some(SHORT));
        request.recv(1).map(drop)
    });
    let server = server.hooks(hooks).build().unwrap();
    let mut client = connect(&server);
    server.handle_request().unwrap();
    let (blame, reason, text) = next_error(&events);
    assert_eq!((blame, reason), (Blame::Client, "idle-timeout"));
    assert_eq!(text, "no byte moved for 20ms");
    assert_eq!(read_all(&mut client), b"");

    let (hooks, events) = recorder();
    let server = builder(|request| {
        request.settimeout(Some(SHORT));
        request.recv(1).map(drop)
    });
    let server = server.hooks(hooks).build().unwrap();
    let _client = connect(&server);
    server.handle_request().unwrap();
    assert_eq!(next_error(&events), (Blame::Client, "timed-out", "timed out".to_owned()));
}

#[test]
fn the_handlers_timeout_can_only_be_shorter() {
    let (request, _client) = pair();
    request.set_idle_timeout(Some(SHORT));
    request.settimeout(Some(Duration::from_hours(1)));
    assert_eq!(idle_limit(&request.recv(1)), Some(SHORT));

    let (request, _client) = pair();
    request.set_idle_timeout(Some(Duration::from_hours(1)));
    request.settimeout(Some(SHORT));
    assert!(is_plain_timeout(&request.recv(1)));
}

/// Calls `wait` until the idle timeout is over, which must take several calls.
fn waits_until_idle(request: &Request, mut wait: impl FnMut() -> io::Result<()>) {
    let limit = Duration::from_millis(200);
    request.set_idle_timeout(Some(limit));
    request.settimeout(Some(Duration::from_millis(5)));
    let begun = Instant::now();
    for _ in 0..1000 {
        let waited = wait();
        if idle_limit(&waited).is_some() {
            assert!(begun.elapsed() >= limit);
            return;
        }
        assert!(is_plain_timeout(&waited), "{waited:?}");
    }
    panic!("still not idle after {:?}", begun.elapsed());
}

#[test]
fn the_waits_of_several_calls_add_up_to_the_idle_timeout() {
    let (request, _client) = pair();
    waits_until_idle(&request, || request.recv(1).map(drop));
    assert_eq!(idle_limit(&request.recv(1)), Some(Duration::from_millis(200)), "for good");
}

#[test]
fn sending_nothing_does_not_reset_the_idle_time() {
    let (request, _client) = pair();
    waits_until_idle(&request, || {
        request.sendall(b"")?;
        request.recv(0)?;
        request.recv(1).map(drop)
    });
}

#[test]
fn a_byte_in_either_direction_resets_the_idle_time() {
    let (request, mut client) = pair();
    let limit = Duration::from_secs(1);
    request.set_idle_timeout(Some(limit));
    let mostly_idle = || {
        request.settimeout(Some(limit.mul_f64(0.6)));
        assert!(is_plain_timeout(&request.recv(1)));
        request.settimeout(None);
    };
    mostly_idle();
    client.write_all(b"x").unwrap();
    assert_eq!(request.recv(1).unwrap(), b"x");
    mostly_idle();
    request.sendall(b"y").unwrap();
    mostly_idle();
}

#[test]
fn a_request_without_limits_waits_for_a_slow_client() {
    let (request, mut client) = pair();
    let receiving = common::until_blocked(move || request.recv(1));
    assert!(!receiving.is_finished());
    client.write_all(b"x").unwrap();
    assert_eq!(receiving.join().unwrap().unwrap(), b"x");
}

#[test]
fn the_wall_time_ends_a_request_that_never_has_to_wait() {
    let (request, _client) = pair();
    request.set_wall_time(Some(Duration::from_millis(50)));
    let result = loop {
        let result = request.sendall(b"");
        if result.is_err() {
            break result;
        }
    };
    assert_eq!(wall_limit(&result), Some(Duration::from_millis(50)));
    let error = HandlerError::from(result.unwrap_err());
    assert_eq!((error.blame(), error.reason().as_str()), (Blame::Policy, "wall-time"));
}

#[test]
fn the_wall_time_ends_a_wait_and_counts_from_the_beginning() {
    let (request, mut client) = pair();
    request.set_wall_time(Some(Duration::from_millis(100)));
    client.write_all(b"early").unwrap();
    assert_eq!(request.recv(5).unwrap(), b"early");
    for _ in 0..2 {
        let error = request.recv(1).unwrap_err();
        assert!(error.get_ref().unwrap().is::<WallTimeout>(), "{error}");
    }
    assert!(request.wall_deadline().unwrap() <= Instant::now());
    // Without a limit it goes on.
    request.set_wall_time(None);
    client.write_all(b"late").unwrap();
    assert_eq!(request.recv(4).unwrap(), b"late");
}

#[test]
fn the_sleep_of_a_handler_counts_as_idle_time() {
    let (request, mut client) = pair();
    let begun = Instant::now();
    request.sleep_until(Some(begun + SHORT)).unwrap();
    assert!(begun.elapsed() >= SHORT);
    // A deadline that has passed needs no wait, with every timeout of the handler.
    request.settimeout(Some(Duration::ZERO));
    request.sleep_until(Some(begun)).unwrap();
    // Each sleep is shorter than the limit.
    request.set_idle_timeout(Some(4 * SHORT));
    let nap = || request.sleep_until(Some(Instant::now() + SHORT));
    let ended = (0..).find_map(|_| nap().err()).unwrap();
    assert_eq!(idle_limit::<()>(&Err(ended)), Some(4 * SHORT));
    // A byte that moves resets the idle time.
    client.write_all(b"1").unwrap();
    request.settimeout(None);
    assert_eq!(request.recv(1).unwrap(), b"1");
    nap().unwrap();
    assert_eq!(idle_limit(&request.sleep_until(None)), Some(4 * SHORT));
    request.set_wall_time(Some(SHORT));
    assert_eq!(wall_limit(&request.sleep_until(Some(begun))), Some(SHORT));
}

#[test]
fn the_wall_time_ends_a_handler_that_sleeps() {
    let (request, _client) = pair();
    request.set_wall_time(Some(SHORT));
    assert_eq!(wall_limit(&request.sleep_until(None)), Some(SHORT));
}
