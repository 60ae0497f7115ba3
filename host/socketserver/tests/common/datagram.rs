//! Clients of datagram servers.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketAddrAny, SocketAddrUnix, getsockname, recvfrom};
use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::{Address, Endpoint, Request, Server, ServerBuilder, UnixAddress};
use tempfile::TempDir;

use super::{WAIT, next};

/// Returns a name for a Unix socket that no other test uses.
pub fn unique_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("socketserver-test-{}-{count}", std::process::id())
}

/// Returns an endpoint for each kind of datagram socket, and the directory of one of them.
pub fn datagram_endpoints() -> (TempDir, Vec<Endpoint>) {
    let directory = tempfile::tempdir().unwrap();
    let endpoints = [
        "udp://127.0.0.1:0".to_owned(),
        "udp://[::1]:0".to_owned(),
        format!("unixgram://{}", directory.path().join("socket").display()),
        format!("unixgram://@{}", unique_name()),
    ];
    (directory, endpoints.iter().map(|endpoint| endpoint.parse().unwrap()).collect())
}

pub fn udp() -> Endpoint {
    "udp://127.0.0.1:0".parse().unwrap()
}

/// Returns a server that sends each datagram back to its sender.
pub fn echo_datagrams(endpoint: &Endpoint) -> ServerBuilder {
    let handler = |request: &Request, client: &Address, _: &_| {
        request.sendto(request.data(), client).map(drop)
    };
    Server::builder(handler).bind(endpoint.clone())
}

/// Converts an address for system calls.
pub fn to_kernel(address: &Address) -> SockAddr {
    match address {
        Address::Unix(UnixAddress::Pathname(path)) => SockAddr::unix(path).unwrap(),
        Address::Unix(UnixAddress::Abstract(name)) => {
            SockAddr::unix(format!("\0{}", std::str::from_utf8(name).unwrap())).unwrap()
        }
        Address::Unix(UnixAddress::Unnamed) => SockAddr::unix("").unwrap(),
        other => other.to_socket_addr().unwrap().into(),
    }
}

/// Returns the text that a server prints for an address from a system call.
pub fn printed(address: Option<SocketAddrAny>) -> String {
    let Some(address) = address else { return "(unnamed)".to_owned() };
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        return address.to_string();
    }
    let address = SocketAddrUnix::try_from(address).unwrap();
    match (address.path(), address.abstract_name()) {
        (Some(path), _) => path.to_string_lossy().into_owned(),
        (_, Some(name)) => format!("@{}", String::from_utf8_lossy(name)),
        _ => "(unnamed)".to_owned(),
    }
}

/// A client that sends datagrams to one server. Its calls have a timeout.
pub struct Gram {
    pub socket: Socket,
    server: SockAddr,
}

impl Gram {
    /// Returns a client with an address that the kernel has chosen.
    pub fn new(server: &Address) -> Gram {
        let gram = Gram::unbound(server);
        let any = match gram.server.domain() {
            Domain::IPV4 => SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            Domain::IPV6 => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)).into(),
            _ => SockAddr::unix("").unwrap(),
        };
        gram.socket.bind(&any).unwrap();
        gram
    }

    /// Returns a client without an address. A Unix client does not get one by sending.
    pub fn unbound(server: &Address) -> Gram {
        let server = to_kernel(server);
        let socket = Socket::new(server.domain(), Type::DGRAM, None).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        socket.set_write_timeout(Some(WAIT)).unwrap();
        Gram { socket, server }
    }

    /// Connects it, so that it receives only from the server's own address.
    pub fn connected(self) -> Gram {
        self.socket.connect(&self.server).unwrap();
        self
    }

    pub fn send(&self, data: &[u8]) {
        let sent = match self.socket.peer_addr() {
            Ok(_) => self.socket.send(data),
            Err(_) => self.socket.send_to(data, &self.server),
        };
        assert_eq!(sent.unwrap(), data.len());
    }

    fn try_receive(&self, flags: RecvFlags) -> rustix::io::Result<(Vec<u8>, String)> {
        let mut data = Vec::with_capacity(1 << 18);
        let (_, _, from) = recvfrom(&self.socket, spare_capacity(&mut data), flags)?;
        Ok((data, printed(from)))
    }

    /// Receives the next datagram, and returns it with its sender.
    pub fn receive_from(&self) -> (Vec<u8>, String) {
        self.try_receive(RecvFlags::empty()).unwrap()
    }

    pub fn receive(&self) -> Vec<u8> {
        self.receive_from().0
    }

    /// Returns true if no datagram has come.
    pub fn has_nothing(&self) -> bool {
        matches!(self.try_receive(RecvFlags::DONTWAIT), Err(Errno::AGAIN))
    }

    pub fn talk(&self, data: &[u8]) -> Vec<u8> {
        self.send(data);
        self.receive()
    }

    /// Returns its address, as a server prints it.
    pub fn address(&self) -> String {
        printed(getsockname(&self.socket).ok())
    }
}

/// A server that passes its requests to the test, which calls their methods as a handler
/// does.
pub struct Served {
    pub server: Server,
    requests: Receiver<(Request, Address)>,
}

impl Served {
    pub fn new(endpoint: &Endpoint) -> Served {
        let (sender, requests) = mpsc::channel();
        let handler = move |request: &Request, client: &Address, _: &_| {
            sender.send((request.clone(), client.clone())).map_err(io::Error::other)
        };
        let server = Server::builder(handler).bind(endpoint.clone()).build().unwrap();
        Served { server, requests }
    }

    pub fn client(&self) -> Gram {
        Gram::new(self.server.server_address())
    }

    /// Sends `data` from `client`, and returns the request.
    pub fn request(&self, client: &Gram, data: &[u8]) -> (Request, Address) {
        client.send(data);
        self.take()
    }

    pub fn take(&self) -> (Request, Address) {
        self.server.handle_request().unwrap();
        next(&self.requests)
    }
}
