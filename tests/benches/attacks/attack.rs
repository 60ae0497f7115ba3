//! The attacks: the code of the handler, and the behaviour of its clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// One attack on a server.
pub struct Attack {
    pub name: &'static str,
    /// Code that the handler runs for a client that sends `x`.
    pub handle: &'static str,
    /// More fields of the module.
    pub fields: &'static str,
    /// Set if the handler can open sockets, with the functions of
    /// `tests/fixtures/network/functions.wat`.
    pub opens_sockets: bool,
    /// Limits that an operator would set for such a server.
    pub options: &'static [&'static str],
    pub clients: Clients,
}

/// The behaviour of the clients of an attack.
#[derive(Clone, Copy)]
pub enum Clients {
    /// This many clients send a request, and send the next one once it is answered or refused.
    Ask(usize),
    /// This many clients send a request and read nothing until the server ends the connection.
    /// Then others take their place.
    Stay(usize),
    /// This many clients send nothing until the server ends the connection. Then others take
    /// their place.
    Silent(usize),
    /// This many clients connect and reset the connection in a loop.
    Reset(usize),
}

const fn guest(name: &'static str, handle: &'static str, clients: Clients) -> Attack {
    let options = &["--cpu-time", "100ms"];
    Attack { name, handle, fields: "", opens_sockets: false, options, clients }
}

impl Attack {
    const fn fields(self, fields: &'static str) -> Self {
        Attack { fields, ..self }
    }

    /// Lets the handler open sockets.
    const fn opening_sockets(self) -> Self {
        let options = &["--cpu-time", "100ms", "--connect", "tcp://127.0.0.1:1"];
        Attack { opens_sockets: true, options, ..self }
    }

    const fn options(self, options: &'static [&'static str]) -> Self {
        Attack { options, ..self }
    }
}

const SHORT: &[&str] = &["--cpu-time", "100ms", "--idle-timeout", "1s"];

/// All attacks. They have few clients: the machine has few processors, and the bench measures
/// the host and not the scheduler.
pub const ATTACKS: [Attack; 15] = [
    guest("endless loop", "(loop $again (br $again))", Clients::Ask(1)),
    guest("endless loop of host calls",
        "(loop $again (call $sendall (i32.const 100) (i32.const 0)) (br $again))", Clients::Ask(1)),
    guest("all the memory there is",
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (memory.fill (i32.const 1024) (i32.const 7) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1024)))
        unreachable", Clients::Ask(1)),
    guest("all the table entries there are",
        "(loop $again (br_if $again (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable",
        Clients::Ask(1)).fields("(table 1 funcref)"),
    guest("endless recursion", "(call $deeper)", Clients::Ask(1))
        .fields("(func $deeper (call $deeper) (call $deeper))"),
    guest("a trap each time", "unreachable", Clients::Ask(1)),
    guest("a flood of log lines",
        "(loop $again (call $host_log (i32.const 1) (i32.const 120) (i32.const 12)) (br $again))", Clients::Ask(1)),
    guest("parked in recv", "(call $recv (i32.const 1))", Clients::Stay(100)).options(SHORT),
    guest("parked in sendall",
        "(loop $again (call $sendall (i32.const 0) (i32.const 65536)) (br_if $again (i32.eqz (i32.load8_u (i32.const 32)))))", Clients::Stay(50)).options(SHORT),
    guest("silent clients", "", Clients::Silent(200)).options(SHORT),
    guest("connects and resets", "", Clients::Reset(1)),
    guest("questions without an end", "(loop $again (call $recv (i32.const 65536)) (br_if $again (i32.load (i32.const 24))))",
        Clients::Ask(1)),
    guest("a flood of sockets", "(loop $again (drop (call $tcp)) (br $again))", Clients::Ask(1)).opening_sockets(),
    guest("connects without end",
        "(local $socket i32)
        (loop $again (local.set $socket (call $tcp)) (call $connect (local.get $socket) (i32.const 1))
          (call $host_drop (local.get $socket)) (br $again))", Clients::Ask(1)).opening_sockets(),
    guest("endless select",
        "(i32.store (i32.const 600) (global.get $request))
        (loop $again (call $select (i32.const 600) (i32.const 1) (i32.const 1) (f64.const 0)) (br $again))",
        Clients::Ask(1)).opening_sockets(),
];

impl Clients {
    /// Attacks the server until `stop` is set.
    pub fn attack(self, server: SocketAddr, stop: &AtomicBool) {
        match self {
            Clients::Ask(count) => in_threads(count, stop, || {
                if let Ok(mut client) = TcpStream::connect(server) {
                    let _ = client.set_read_timeout(Some(Duration::from_secs(1)));
                    // The server may refuse the client or end the request.
                    let _ = client.write_all(b"x");
                    let _ = client.read_to_end(&mut Vec::new());
                }
            }),
            Clients::Reset(count) => in_threads(count, stop, || {
                if let Ok(client) = TcpStream::connect(server) {
                    let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
                }
            }),
            Clients::Stay(count) => stay(count, b"x", server, stop),
            Clients::Silent(count) => stay(count, b"", server, stop),
        }
    }
}

fn in_threads(count: usize, stop: &AtomicBool, once: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    once();
                }
            });
        }
    });
}

/// Holds `count` connections on which it sends `data`, and replaces each that ends.
fn stay(count: usize, data: &[u8], server: SocketAddr, stop: &AtomicBool) {
    let mut held: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        held.retain(is_open);
        while held.len() < count
            && let Ok(mut client) = TcpStream::connect(server)
        {
            let _ = client.write_all(data);
            held.push(client);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns whether the connection is open, without reading from it.
fn is_open(client: &TcpStream) -> bool {
    let _ = client.set_nonblocking(true);
    match client.peek(&mut [0]) {
        Ok(0) => false,
        Ok(_) => SockRef::from(client).take_error().is_ok_and(|error| error.is_none()),
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}
