//! Clients of server programs, over any transport.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;

use rustix::net::getsockname;
use socket2::{Domain, Socket, Type};
use socketserver::{Address, Endpoint, SocketType};

use crate::common::{Gram, WAIT, printed, to_kernel};

/// A connection to a server program.
pub struct Client(pub Socket);

impl Client {
    pub fn connect(endpoint: &Endpoint) -> Client {
        Client::try_connect(endpoint).unwrap()
    }

    pub fn try_connect(endpoint: &Endpoint) -> std::io::Result<Client> {
        let to = to_kernel(endpoint.address());
        let socket = Socket::new(to.domain(), Type::STREAM, None)?;
        socket.set_read_timeout(Some(WAIT))?;
        socket.set_write_timeout(Some(WAIT))?;
        socket.connect(&to)?;
        Ok(Client(socket))
    }

    /// Returns a client that has sent an order.
    pub fn with_order(endpoint: &Endpoint, order: &str) -> Client {
        let mut client = Client::connect(endpoint);
        client.0.write_all(format!("{order}\n").as_bytes()).unwrap();
        client
    }

    /// Returns a client whose handler runs until the client is dropped or
    /// [`done`](Self::done), and the process of the handler.
    pub fn holding(endpoint: &Endpoint) -> (Client, i32) {
        let mut client = Client::with_order(endpoint, "hold");
        let pid = client.line().parse().unwrap();
        (client, pid)
    }

    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.0.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        String::from_utf8(line).unwrap()
    }

    /// Reads until the end of the stream, which must not be a reset.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }

    /// Ends a handler that waits for this client, without an error.
    pub fn done(mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
        assert_eq!(self.rest(), "done\n");
    }

    /// Returns true if neither data nor the end of the stream has come.
    pub fn has_nothing(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let peeked = self.0.peek(&mut [std::mem::MaybeUninit::uninit()]);
        self.0.set_nonblocking(false).unwrap();
        peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Returns true if the connection ends, with a reset or without, and no data has come.
    pub fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// Returns its address, as a server prints it.
    pub fn address(&self) -> String {
        printed(getsockname(&self.0).ok())
    }
}

/// Sends an order, and returns the answer of the server: a line or a datagram.
pub fn ask(endpoint: &Endpoint, order: &str) -> String {
    match endpoint.socket_type() {
        SocketType::Stream => Client::with_order(endpoint, order).rest().trim_end().to_owned(),
        SocketType::Dgram => {
            let answer = Gram::new(endpoint.address()).talk(order.as_bytes());
            String::from_utf8(answer).unwrap()
        }
    }
}

/// Returns the number of clients of a server on 127.0.0.1 that wait to be accepted.
pub fn waiting_clients(endpoint: &Endpoint) -> usize {
    let Address::Inet(address) = endpoint.address() else { panic!("{endpoint}") };
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0100007F:{:04X}", address.port());
    let mut sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listener = sockets.find(|fields| fields[1] == local && fields[3] == "0A").unwrap();
    let (_, received) = listener[4].split_once(':').unwrap();
    usize::from_str_radix(received, 16).unwrap()
}

/// Returns true if a socket listens on this port, without connecting to it.
pub fn listens(endpoint: &Endpoint) -> bool {
    let Some(address) = endpoint.address().to_socket_addr() else { return false };
    let port = format!(":{:04X}", address.port());
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        fs::read_to_string(table).unwrap().lines().any(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            fields[1].ends_with(&port) && fields[3] == "0A"
        })
    })
}
