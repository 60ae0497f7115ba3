//! Two servers in one thread: a `poll` of the program's own over their sockets, and
//! `handle_request` of each server that has a request.
//!
//! ```console
//! $ cargo run -p socketserver --example multiplex
//! ```

use std::error::Error;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use socketserver::{Address, Request, Server, ServerBuilder};

/// Returns a server that sends `text` to each client.
fn greeter(text: &'static str) -> ServerBuilder {
    let handler = |request: &Request, _: &Address, _: &_| request.sendall(text.as_bytes());
    // The socket is ready, so `handle_request` need not wait.
    Server::builder(handler).timeout(Some(Duration::ZERO))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut binds = std::env::args().skip(1);
    let mut bind = || binds.next().unwrap_or_else(|| "tcp://127.0.0.1:0".to_owned());
    let servers = [
        greeter("the first\n").bind(bind().parse()?).build()?,
        greeter("the second\n").bind(bind().parse()?).build()?,
    ];
    for server in &servers {
        println!("listening {}", server.endpoints()[0]);
    }
    let sockets = [servers[0].socket()?, servers[1].socket()?];
    loop {
        let mut fds =
            [PollFd::new(&sockets[0], PollFlags::IN), PollFd::new(&sockets[1], PollFlags::IN)];
        poll(&mut fds, None)?;
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        for (server, _) in servers.iter().zip(&fds).filter(|(_, fd)| ready(fd)) {
            server.handle_request()?;
        }
    }
}
