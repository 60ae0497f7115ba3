//! Facts about TLS, of connections and sockets that have none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::UdpSocket;
use std::os::unix::net::UnixStream;

use common::pair;
use socketserver::Request;

fn has_facts(request: &Request) -> bool {
    request.version().is_some()
        || request.cipher().is_some()
        || request.selected_alpn_protocol().is_some()
        || request.getpeercert().is_some()
        || request.server_hostname().is_some()
}

#[test]
fn a_socket_without_tls_has_no_facts() {
    let (request, _client) = pair();
    assert!(!has_facts(&request));
    let datagram = Request::from_datagram("x", UdpSocket::bind("127.0.0.1:0").unwrap());
    assert!(!has_facts(&datagram));
    let opened = request.open(UnixStream::pair().unwrap().0).unwrap();
    assert!(!has_facts(&opened));
    opened.close();
    request.close();
    assert!(!has_facts(&opened) && !has_facts(&request));
}
