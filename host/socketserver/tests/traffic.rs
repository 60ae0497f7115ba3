//! The operator's side of a request: the bytes that it has moved and may move, and its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Sender};

use common::{NEVER, WAIT, builder, connect, connect_to, next, pair, read_all, serve, talk};
use socketserver::{
    Address, Blame, HandlerError, Hooks, ReceiveLimit, Request, SendLimit, Server, ServerInfo,
};

fn receive_limit<T>(result: &io::Result<T>) -> Option<u64> {
    let inner = result.as_ref().err()?.get_ref()?;
    inner.downcast_ref::<ReceiveLimit>().map(|error| error.limit)
}

fn send_limit<T>(result: &io::Result<T>) -> Option<u64> {
    let inner = result.as_ref().err()?.get_ref()?;
    inner.downcast_ref::<SendLimit>().map(|error| error.limit)
}

fn reported(error: io::Result<usize>) -> (Blame, &'static str) {
    let error = HandlerError::from(error.unwrap_err());
    (error.blame(), error.reason().as_str())
}

#[test]
fn a_client_may_send_as_much_as_the_limit() {
    let (request, mut client) = pair();
    request.set_max_received(Some(6));
    client.write_all(b"abcdef").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(request.recv(4).unwrap(), b"abcd");
    assert_eq!(request.recv(4).unwrap(), b"ef");
    assert_eq!(request.recv(4).unwrap(), b"");
    let mut buffer = [0; 4];
    assert_eq!(request.recv_into(&mut buffer).unwrap(), 0);
    assert_eq!(request.received(), 6);
}

#[test]
fn a_client_that_sends_one_byte_more_is_an_error() {
    let (request, mut client) = pair();
    request.set_max_received(Some(6));
    client.write_all(b"abcdefg").unwrap();
    let mut buffer = [0; 100];
    assert_eq!(request.recv_into(&mut buffer).unwrap(), 6);
    assert_eq!(request.recv(0).unwrap(), b"");
    assert_eq!(receive_limit(&request.recv(100)), Some(6));
    assert_eq!(receive_limit(&request.recv_into(&mut buffer)), Some(6));
    assert_eq!(reported(request.recv_into(&mut buffer)), (Blame::Client, "received"));
    assert_eq!(request.received(), 6);
    // The other direction is not limited.
    request.sendall(b"answer").unwrap();
    assert_eq!(request.sent(), 6);
}

/// The end of the stream is not known before it comes.
#[test]
fn at_the_limit_a_recv_still_waits_and_times_out() {
    let (request, mut client) = pair();
    request.set_max_received(Some(1));
    client.write_all(b"a").unwrap();
    assert_eq!(request.recv(10).unwrap(), b"a");
    request.settimeout(Some(std::time::Duration::ZERO));
    assert_eq!(request.recv(10).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_handler_may_send_as_much_as_the_limit_and_no_more() {
    let (request, mut client) = pair();
    request.set_max_sent(Some(6));
    assert_eq!(request.send(b"abcd").unwrap(), 4);
    assert_eq!(request.send(b"efgh").unwrap(), 2);
    assert_eq!(request.send(b"").unwrap(), 0);
    assert_eq!(send_limit(&request.send(b"g")), Some(6));
    assert_eq!(reported(request.send(b"g")), (Blame::Guest, "sent"));
    assert_eq!(request.sent(), 6);
    drop(request);
    assert_eq!(read_all(&mut client), b"abcdef");
}

#[test]
fn a_sendall_that_is_too_long_sends_what_it_may() {
    let (request, mut client) = pair();
    request.set_max_sent(Some(6));
    assert_eq!(send_limit(&request.sendall(b"abcdefgh")), Some(6));
    drop(request);
    assert_eq!(read_all(&mut client), b"abcdef");
}

#[test]
fn a_datagram_counts_and_a_reply_that_is_too_long_is_not_sent() {
    let (sender, seen) = mpsc::channel();
    let handler = move |request: &Request, client: &Address, _: &_| {
        request.set_max_sent(Some(6));
        let results = [
            send_limit(&request.sendto(b"abcdefg", client)),
            send_limit(&request.sendto(b"abcd", client)),
            send_limit(&request.sendto(b"efg", client)),
            send_limit(&request.sendto(b"ef", client)),
        ];
        sender.send((results, request.received(), request.sent())).unwrap();
        Ok::<(), io::Error>(())
    };
    let server = Server::builder(handler).bind("udp://127.0.0.1:0".parse().unwrap());
    let server = serve(server.build().unwrap(), NEVER);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(WAIT)).unwrap();
    client.send_to(b"question", server.server_address().to_socket_addr().unwrap()).unwrap();
    assert_eq!(next(&seen), ([Some(6), None, Some(6), None], 8, 6));
    let mut buffer = [0; 100];
    for reply in [&b"abcd"[..], b"ef"] {
        let count = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], reply);
    }
}

#[test]
fn a_request_can_end_with_a_reset() {
    let server = serve(
        builder(|request| {
            let data = request.recv(10)?;
            if data == b"reset" {
                request.reset_on_close();
            }
            request.sendall(b"an answer")
        })
        .build()
        .unwrap(),
        NEVER,
    );
    assert_eq!(talk(&server, b"close"), b"an answer");
    let mut client = connect(&server);
    client.write_all(b"reset").unwrap();
    let end = client.read_to_end(&mut Vec::new());
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// Unix sockets have no reset, so they end as always.
#[test]
fn a_unix_request_never_ends_with_a_reset() {
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let request = Request::new(socket2::Socket::from(OwnedFd::from(ours)));
    request.reset_on_close();
    request.sendall(b"all of it").unwrap();
    drop(request);
    let mut data = Vec::new();
    theirs.read_to_end(&mut data).unwrap();
    assert_eq!(data, b"all of it");
}

/// The arguments of `request_finished`.
type Finished = (u64, u64, Option<&'static str>);

struct Tells(Sender<Finished>);

impl Hooks for Tells {
    fn handle_error(&self, _: &Request, _: &Address, _: &HandlerError) {}

    fn request_finished(&self, request: &Request, _: &Address, error: Option<&HandlerError>) {
        let reason = error.map(|error| error.reason().as_str());
        self.0.send((request.received(), request.sent(), reason)).unwrap();
    }
}

#[test]
fn each_request_is_reported_when_it_is_over() {
    let (sender, finished) = mpsc::channel();
    let server = builder(|request| {
        let data = request.recv(100)?;
        request.sendall(&data[..data.len() / 2])?;
        if data == b"fail" { Err(io::Error::other("told to")) } else { Ok(()) }
    });
    let server = serve(server.hooks(Tells(sender)).build().unwrap(), NEVER);
    assert_eq!(talk(&server, b"question"), b"ques");
    assert_eq!(next(&finished), (8, 4, None));
    assert_eq!(talk(&server, b"fail"), b"fa");
    assert_eq!(next(&finished), (4, 2, Some("error")));
}

#[test]
fn a_request_whose_handler_panics_is_reported_as_finished() {
    let (sender, finished) = mpsc::channel();
    let handler = |_: &Request, _: &Address, _: &std::sync::Arc<ServerInfo>| -> io::Result<()> {
        panic!("on purpose")
    };
    let server = Server::builder(handler).bind(common::localhost()).hooks(Tells(sender));
    let server = serve(server.build().unwrap(), NEVER);
    let mut client = connect_to(server.server_address().to_socket_addr().unwrap()).unwrap();
    assert_eq!(read_all(&mut client), b"");
    assert_eq!(next(&finished), (0, 0, Some("panic")));
}

/// Hooks whose `service_actions` reads the descriptor.
#[test]
fn a_descriptor_calls_for_service() {
    struct Reads {
        from: OwnedFd,
        told: Sender<usize>,
    }
    impl Hooks for Reads {
        fn service_actions(&self) {
            let count = rustix::io::read(&self.from, &mut [0; 10]).unwrap_or(0);
            // The test may have ended.
            let _ = self.told.send(count);
        }
    }
    let flags = rustix::pipe::PipeFlags::NONBLOCK;
    let (from, to) = rustix::pipe::pipe_with(flags).unwrap();
    let (told, reads) = mpsc::channel();
    let attention = from.try_clone().unwrap();
    let server = builder(|_| Ok(())).hooks(Reads { from, told }).service_when_readable(attention);
    let server = serve(server.build().unwrap(), NEVER);
    server.wait_until_idle();
    assert!(reads.try_recv().is_err());
    rustix::io::write(&to, b"abc").unwrap();
    assert_eq!(next(&reads), 3);
    server.wait_until_idle();
    assert!(reads.try_recv().is_err(), "it was read, so nothing calls any more");
    rustix::io::write(&to, b"d").unwrap();
    assert_eq!(next(&reads), 1);
}
