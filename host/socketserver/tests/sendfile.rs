//! Files that the kernel sends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use common::{Served, datagram_endpoints, errno, pair, reset, wait_until};
use rustix::io::Errno;
use socketserver::{IdleTimeout, Request, SendLimit, block_on};

/// Returns a file of `size` bytes, none of which equals its neighbour.
fn file(size: usize) -> (tempfile::TempDir, File, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let data: Vec<u8> = (0..size).map(|place| u8::try_from(place % 251).unwrap()).collect();
    fs::write(&path, &data).unwrap();
    (directory, File::open(path).unwrap(), data)
}

fn part(request: &Request, file: &File, offset: u64, count: u64) -> std::io::Result<u64> {
    block_on(request.sendfile_part_async(file.as_fd(), offset, count))
}

#[test]
fn b87_sendfile_sends_a_whole_file_or_a_part_of_it() {
    let (_directory, file, data) = file(5_000_000);
    for (offset, count) in
        [(0, None), (1, Some(10)), (4_999_999, None), (5_000_000, None), (9_000_000, Some(1))]
    {
        let (request, mut client) = pair();
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            received
        });
        let from = data.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let expected = count.map_or(from, |count| &from[..from.len().min(count)]);
        let sent = request.sendfile(&file, offset, count.map(|count| count as u64)).unwrap();
        assert_eq!(sent, expected.len() as u64);
        assert_eq!(request.sent(), sent);
        drop(request);
        assert_eq!(reader.join().unwrap(), expected, "{offset} {count:?}");
    }
    assert_eq!((&file).stream_position().unwrap(), 0);
}

#[test]
fn b87_sendfile_works_on_a_unix_stream() {
    let (_directory, file, data) = file(10_000);
    let (mut other, end) = UnixStream::pair().unwrap();
    let request = Request::new(OwnedFd::from(end));
    assert_eq!(request.sendfile(&file, 0, None).unwrap(), 10_000);
    let mut received = vec![0; 10_000];
    other.read_exact(&mut received).unwrap();
    assert_eq!(received, data);
}

#[test]
fn b87_the_limits_of_the_request_end_sendfile() {
    let (_directory, file, _) = file(20_000_000);
    let (request, _client) = pair();
    request.set_idle_timeout(Some(Duration::from_millis(50)));
    let error = request.sendfile(&file, 0, None).unwrap_err();
    assert!(error.get_ref().unwrap().is::<IdleTimeout>(), "{error:?}");
    request.set_idle_timeout(None);
    for (timeout, kind) in [(0, ErrorKind::WouldBlock), (10, ErrorKind::TimedOut)] {
        request.settimeout(Some(Duration::from_millis(timeout)));
        assert_eq!(request.sendfile(&file, 0, None).unwrap_err().kind(), kind);
    }

    let (request, _client) = pair();
    request.set_max_sent(Some(10));
    let error = request.sendfile(&file, 0, None).unwrap_err();
    assert!(error.get_ref().unwrap().is::<SendLimit>(), "{error:?}");
    assert_eq!(request.sent(), 10);
}

#[test]
fn b87_one_call_of_the_kernel_sends_a_bounded_part() {
    let (_directory, file, _) = file(3 << 20);
    let (request, mut client) = pair();
    let reader = thread::spawn(move || std::io::copy(&mut client, &mut std::io::sink()).unwrap());
    let mut sent = 0;
    while sent < 3 << 20 {
        let more = part(&request, &file, sent, u64::MAX).unwrap();
        assert!(more <= 1 << 20);
        sent += more;
    }
    drop(request);
    assert_eq!(reader.join().unwrap(), 3 << 20);
}

#[test]
fn b87_files_that_cannot_be_sent_are_errors() {
    let (directory, readable, _) = file(10);
    let (request, client) = pair();
    let write_only = File::create(directory.path().join("new")).unwrap();
    assert_eq!(errno(request.sendfile(&write_only, 0, None)), Some(Errno::BADF));
    let folder = File::open(directory.path()).unwrap();
    assert!(matches!(errno(request.sendfile(&folder, 0, None)), Some(Errno::INVAL | Errno::ISDIR)));
    assert_eq!(errno(request.sendfile(&readable, u64::MAX, None)), Some(Errno::INVAL));
    assert_eq!(part(&request, &readable, 0, 0).unwrap(), 0);
    reset(client);
    wait_until("the reset has come", || request.getpeername().is_err());
    let error = errno(request.sendfile(&readable, 0, None));
    assert!(matches!(error, Some(Errno::CONNRESET | Errno::PIPE)), "{error:?}");
    request.close();
    assert_eq!(errno(request.sendfile(&readable, 0, None)), Some(Errno::BADF));
}

#[test]
fn b87_a_datagram_is_no_place_for_a_file() {
    let (_directory, file, _) = file(10);
    let (_sockets, endpoints) = datagram_endpoints();
    for endpoint in &endpoints {
        let served = Served::new(endpoint);
        let (request, _) = served.request(&served.client(), b"x");
        assert_eq!(errno(request.sendfile(&file, 0, None)), Some(Errno::OPNOTSUPP));
    }
}
