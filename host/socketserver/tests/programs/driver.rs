//! The code of a server program: a server that obeys the lines of its standard input, and a
//! handler that obeys the lines of its clients.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, process};

use rustix::net::getsockname;
use rustix::process::{Pid, Signal, getpid, kill_process};
use socketserver::{
    Address, Concurrency, Fibers, Forking, HandlerError, Hooks, Request, Server, ServerBuilder,
    ServerClass, ServerInfo, SocketType, SystemExit, Threading, WorkerConcurrency, Workers,
};

use crate::common::{NEVER, printed};

/// Builds a server from its arguments: `bind=tcp://127.0.0.1:0`, `forking`, `workers=2`,
/// `sync`, `graceful`, and so on.
pub fn server(arguments: &[String]) -> ServerBuilder {
    let mut builder = Server::builder(obey).hooks(Lines);
    let mut forking = Forking::new();
    let mut workers = None;
    let mut other = None;
    let mut threading = Threading::new();
    for argument in arguments {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        let number = || value.parse::<usize>().unwrap();
        match name {
            "bind" => builder = builder.bind(value.parse().unwrap()),
            "max_children" => forking.max_children = number(),
            "max_lifetime" => {
                forking.max_lifetime = Some(Duration::from_millis(value.parse().unwrap()));
            }
            "block_on_close" => forking.block_on_close = value == "true",
            "daemon_threads" => threading.daemon_threads = value == "true",
            "workers" => workers = Some(number()),
            "max_requests" => threading.max_requests = Some(number()),
            "sync" | "threading" | "fibers" => other = Some(name),
            "graceful" => builder = builder.graceful_shutdown(true),
            "timeout" => {
                builder = builder.timeout(Some(Duration::from_millis(value.parse().unwrap())));
            }
            other => panic!("{other}"),
        }
    }
    threading.block_on_close = forking.block_on_close;
    builder.concurrency(match (workers, other) {
        (Some(count), Some("fibers")) => {
            let fibers = Fibers {
                max_requests: threading.max_requests,
                block_on_close: threading.block_on_close,
                daemon_threads: threading.daemon_threads,
                ..Fibers::new()
            };
            Concurrency::Workers(Workers { count, concurrency: WorkerConcurrency::Fibers(fibers) })
        }
        (Some(count), _) => {
            let concurrency = WorkerConcurrency::Threading(threading);
            Concurrency::Workers(Workers { count, concurrency })
        }
        (None, Some("sync")) => Concurrency::Sync,
        (None, Some(_)) => Concurrency::Threading(threading),
        (None, None) => Concurrency::Forking(forking),
    })
}

/// A program with such a server.
pub fn server_program(arguments: &[String]) {
    drive(server(arguments));
}

/// A program with a server of one of Python's classes.
pub fn class_program(arguments: &[String]) {
    let class: ServerClass = arguments[0].parse().unwrap();
    drive(class.builder(arguments[1].parse().unwrap(), obey).unwrap().hooks(Lines));
}

/// Makes the server and obeys the lines of standard input, until its end.
pub fn drive(builder: ServerBuilder) {
    let stdin = io::stdin().as_fd().try_clone_to_owned().unwrap();
    let server = builder.shutdown_when_readable(stdin).build().unwrap();
    for endpoint in server.endpoints() {
        println!("listening {endpoint}");
    }
    println!("ready");
    let mut foreign: Option<Child> = None;
    while let Some(order) = read_line() {
        match order.split_once(' ').unwrap_or((&order, "")) {
            ("serve", "") => match server.serve_forever(NEVER) {
                Ok(()) => println!("served ok"),
                Err(error) => println!("served {error:?}"),
            },
            ("handle_request", "") => match server.handle_request() {
                Ok(()) => println!("handled ok"),
                Err(error) => println!("handled {error:?}"),
            },
            ("close", "") => {
                server.server_close();
                println!("closed");
            }
            ("close_within", milliseconds) => {
                let grace = Duration::from_millis(milliseconds.parse().unwrap());
                println!("left {}", server.server_close_within(grace));
            }
            ("collect", "") => {
                server.collect_children();
                println!("collected");
            }
            ("active", "") => println!("active {}", server.active_children()),
            ("max_requests", "") => println!("max_requests {}", server.max_requests()),
            ("fileno", "") => println!("fileno {:?}", server.fileno()),
            ("addresses", "") => {
                let real = printed(getsockname(server.socket().unwrap()).ok());
                println!("addresses {} {real}", server.server_address());
            }
            // A child that the server does not know, and its status.
            ("foreign", "") => {
                let child = process::Command::new("sh").args(["-c", "exit 72"]).spawn().unwrap();
                println!("foreign {}", child.id());
                foreign = Some(child);
            }
            ("foreign_status", "") => {
                let status = foreign.as_mut().unwrap().wait();
                println!("foreign_status {:?}", status.map(|status| status.code()));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Reads one line, and no byte of the next, which the loop must find.
fn read_line() -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while rustix::io::read(io::stdin(), &mut byte).unwrap() == 1 {
        if byte == *b"\n" {
            return Some(String::from_utf8(line).unwrap());
        }
        line.extend(byte);
    }
    None
}

/// Hooks that print their arguments.
pub struct Lines;

impl Hooks for Lines {
    fn handle_error(&self, _request: &Request, client: &Address, error: &HandlerError) {
        print_error(client, error);
    }

    fn handle_child_error(&self, client: Option<&Address>, error: &HandlerError) {
        print_child_error(client, error);
    }

    fn handle_timeout(&self) {
        println!("timeout");
    }
}

pub fn print_error(client: &Address, error: &HandlerError) {
    let (pid, blame, reason) = (process::id(), error.blame(), error.reason());
    println!("error in {pid} for {client}: {blame} {reason}: {error}");
}

pub fn print_child_error(client: Option<&Address>, error: &HandlerError) {
    let client = client.map_or("all".to_owned(), ToString::to_string);
    println!("child-error for {client}: {} {}: {error}", error.blame(), error.reason());
}

/// The number of requests of this process, which its parent does not see.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A handler that obeys the line or the datagram of its client.
pub fn obey(
    request: &Request,
    client: &Address,
    server: &Arc<ServerInfo>,
) -> Result<(), HandlerError> {
    let order = order(request)?;
    let reply = |text: &str| match request.socket_type() {
        SocketType::Stream => request.sendall(format!("{text}\n").as_bytes()),
        SocketType::Dgram => request.sendto(text.as_bytes(), client).map(drop),
    };
    match order.split_once(' ').unwrap_or((&order, "")) {
        ("echo", text) => reply(text)?,
        ("pid", "") => reply(&process::id().to_string())?,
        ("count", "") => reply(&(COUNT.fetch_add(1, Ordering::SeqCst) + 1).to_string())?,
        ("timeout", "") => reply(&format!("{:?}", server.timeout))?,
        // Until the client ends its sending side.
        ("hold", "") => {
            reply(&process::id().to_string())?;
            request.recv(1)?;
            reply("done")?;
        }
        // Until the test closes the other end of that socket.
        ("hold", path) => {
            let mut gate = std::os::unix::net::UnixStream::connect(path)?;
            gate.read_to_end(&mut Vec::new())?;
            reply(&process::id().to_string())?;
        }
        ("sockets", "") => reply(&sockets("self").join(" "))?,
        ("fail", text) => return Err(text.into()),
        ("panic", text) => panic!("{text}"),
        ("exit", status) => return Err(SystemExit(status.parse().unwrap()).into()),
        ("leave", status) => process::exit(status.parse().unwrap()),
        // Rust has handlers for some signals, which let the second signal pass.
        ("signal", number) => loop {
            let signal = Signal::from_named_raw(number.parse().unwrap()).unwrap();
            kill_process(getpid(), signal).unwrap();
        },
        other => panic!("{other:?}"),
    }
    Ok(())
}

fn order(request: &Request) -> io::Result<String> {
    let mut order = request.data().to_vec();
    while request.socket_type() == SocketType::Stream {
        let byte = request.recv(1)?;
        if byte.is_empty() || byte == b"\n" {
            break;
        }
        order.extend(byte);
    }
    Ok(String::from_utf8(order).unwrap())
}

/// Returns the kernel's names of the sockets of a process.
pub fn sockets(process: &str) -> Vec<String> {
    fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
        .map(|link| link.display().to_string())
        .filter(|link| link.starts_with("socket:"))
        .collect()
}
