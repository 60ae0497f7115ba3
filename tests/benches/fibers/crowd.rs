//! Many connections that wait. Processes of their own hold them, because each may have only so
//! many descriptors, from several addresses, because each has only so many ports.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};
use socketserver_tests::bench::progress;
use socketserver_tests::process::{Server, wait_until};
use socketserver_tests::procfs::{children, memory};

/// The connections of one process, and those from one address.
const IN_PROCESS: usize = 10_000;
const FROM_ADDRESS: usize = 4000;

/// Connections to a server.
pub struct Crowd(Vec<Clients>);

/// A process that holds connections.
struct Clients(Child);

impl Drop for Clients {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Crowd {
    /// Makes `count` connections. The server has accepted them, and its memory is at rest, when
    /// this returns.
    pub fn connect(server: &Server, count: usize) -> Result<Self> {
        let before = descriptors(server);
        let mut clients = Vec::new();
        for process in 0..count.div_ceil(IN_PROCESS) {
            progress(&format!("{} of {count} connections", process * IN_PROCESS));
            let count = IN_PROCESS.min(count - process * IN_PROCESS);
            clients.push(Clients::start(server.address(), count, process)?);
        }
        wait_until("all connections are accepted", || descriptors(server) >= before + count);
        // Connections that were accepted may not have an instance yet.
        wait_until("the server is at rest", || is_at_rest(server));
        progress("");
        Ok(Crowd(clients))
    }

    /// Lets each client send a byte, and waits until all are answered.
    pub fn ask(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(Clients::ask)
    }
}

impl Clients {
    /// Starts a process that has made its connections when this returns.
    fn start(server: SocketAddr, count: usize, process: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--hold", &server.to_string(), "--count", &count.to_string()]);
        command.args(["--process", &process.to_string()]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut clients = Clients(child);
        clients.wait_for("connected")?;
        Ok(clients)
    }

    fn wait_for(&mut self, word: &str) -> Result<()> {
        let output = self.0.stdout.as_mut().context("there is no standard output")?;
        let mut line = String::new();
        // One line is there at a time.
        BufReader::with_capacity(64, output).read_line(&mut line)?;
        ensure!(line.trim() == word, "the clients have not {word}: {line}");
        Ok(())
    }

    fn ask(&mut self) -> Result<()> {
        self.0.stdin.as_mut().context("there is no standard input")?.write_all(b"\n")?;
        self.wait_for("answered")
    }
}

/// Makes connections in this process, and asks when a line comes.
pub fn hold(server: SocketAddr, count: usize, process: usize) -> Result<()> {
    let mut connections = Vec::with_capacity(count);
    // Addresses that an earlier crowd has not used. The kernel takes milliseconds to find a free
    // port among those that were closed just now.
    let [high, low] = server.port().to_be_bytes();
    for index in 0..count {
        let host =
            u8::try_from(2 + process * (IN_PROCESS / FROM_ADDRESS + 1) + index / FROM_ADDRESS)?;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, high, low, host)), 0);
        socket.bind(&source.into())?;
        socket.connect(&server.into())?;
        connections.push(TcpStream::from(socket));
    }
    println!("connected");
    std::io::stdin().read_line(&mut String::new())?;
    for connection in &mut connections {
        connection.write_all(b"x")?;
        connection.shutdown(Shutdown::Write)?;
    }
    for connection in &mut connections {
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        ensure!(answer == b"X", "a client was not answered");
    }
    println!("answered");
    Ok(())
}

/// Returns the memory of the processes that serve, with their page tables, in bytes.
pub fn memory_of(server: &Server) -> Result<u64> {
    processes(server).map(|pid| Ok(memory(pid, "VmRSS")? + memory(pid, "VmPTE")?)).sum()
}

fn descriptors(server: &Server) -> usize {
    let count = |pid| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    processes(server).map(count).sum()
}

/// Returns true if the memory of the server does not change for a while.
fn is_at_rest(server: &Server) -> bool {
    let before = memory_of(server).ok();
    thread::sleep(Duration::from_millis(300));
    before.is_some() && before == memory_of(server).ok()
}

fn processes(server: &Server) -> impl Iterator<Item = u32> {
    children(server.pid()).unwrap_or_default().into_iter().chain([server.pid()])
}
