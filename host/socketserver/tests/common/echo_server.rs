//! Echo servers on given endpoints, and their clients.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use socketserver::{Address, BindHint, BuildError, Request, Server, ServerBuilder, ServerInfo};

use super::WAIT;

/// Returns a server that echoes streams and datagrams.
pub fn echo_server(endpoints: &[&str]) -> ServerBuilder {
    let handler = |request: &Request, client: &Address, _: &Arc<ServerInfo>| match client {
        _ if request.data().is_empty() => super::echo(request),
        client => request.sendto(request.data(), client).map(drop),
    };
    let endpoints = endpoints.iter().map(|endpoint| endpoint.parse().unwrap());
    endpoints.fold(Server::builder(handler), ServerBuilder::bind)
}

/// Returns an echo server on `endpoint`.
pub fn build(endpoint: &str) -> Server {
    echo_server(&[endpoint]).build().unwrap()
}

/// Builds a server that cannot be bound. Returns its hint and its error.
pub fn fails(builder: ServerBuilder) -> (Option<BindHint>, String) {
    match builder.build().err() {
        Some(error @ BuildError::Bind { hint, .. }) => {
            let cause = std::error::Error::source(&error).unwrap();
            (hint, format!("{error}: {cause}"))
        }
        other => panic!("{other:?}"),
    }
}

/// Returns the address of an endpoint of a server.
pub fn address(server: &Server, index: usize) -> SocketAddr {
    server.endpoints()[index].address().to_socket_addr().unwrap()
}

/// Asks an address, and accepts an answer only from there.
pub fn ask(to: SocketAddr) -> Vec<u8> {
    let any: SocketAddr =
        if to.is_ipv4() { ([127, 0, 0, 1], 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let client = UdpSocket::bind(any).unwrap();
    client.connect(to).unwrap();
    client.set_read_timeout(Some(WAIT)).unwrap();
    client.send(b"question").unwrap();
    let mut answer = [0; 20];
    let length = client.recv(&mut answer).unwrap_or_else(|error| panic!("{to}: {error}"));
    answer[..length].to_vec()
}
