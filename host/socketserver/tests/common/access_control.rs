//! Servers with access rules, and their clients.

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};

use socket2::{Domain, Socket, Type};
use socketserver::access::{Access, ClientSet, Refusal, network};
use socketserver::{Address, Hooks, Request, Server};

use super::{NEVER, Running, WAIT, read_all, serve};

/// Hooks that apply the rules, and pass the results to the test.
pub struct AccessHooks(pub Access, pub Sender<Result<(), Refusal>>);

impl Hooks for AccessHooks {
    fn verify_request(&self, request: &Request, client_address: &Address) -> bool {
        let judged = self.0.verify_request(request, client_address);
        self.1.send(judged).unwrap();
        judged.is_ok()
    }
}

/// Returns a server with these rules that answers `in`, and the results of the rules.
pub fn greeter(endpoint: &str, access: Access) -> (Running, Receiver<Result<(), Refusal>>) {
    let (sender, judged) = mpsc::channel();
    let handler = |request: &Request, client: &Address, _: &_| match request.data() {
        [] => request.sendall(b"in"),
        _ => request.sendto(b"in", client).map(drop),
    };
    let server = Server::builder(handler)
        .bind(endpoint.parse().unwrap())
        .hooks(AccessHooks(access, sender))
        .build()
        .unwrap();
    (serve(server, NEVER), judged)
}

/// Returns a connection from this address of the machine.
pub fn connect_from(client: &str, server: SocketAddr) -> TcpStream {
    let client = SocketAddr::new(client.parse().unwrap(), 0);
    let socket = Socket::new(Domain::for_address(client), Type::STREAM, None).unwrap();
    socket.bind(&client.into()).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.into()
}

pub fn address(server: &Server) -> SocketAddr {
    server.server_address().to_socket_addr().unwrap()
}

/// Connects from this address, and returns the text that the server sends.
pub fn hears(client: &str, server: &Server) -> Vec<u8> {
    read_all(&mut connect_from(client, address(server)))
}

pub fn net(text: &str) -> ClientSet {
    ClientSet::Network(network(text).unwrap())
}

pub const TCP: &str = "tcp://127.0.0.1:0";
