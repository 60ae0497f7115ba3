//! Starts programs, waits for them, and ends them.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::procfs::{children, is_stopped};

/// The time after which a test that waits fails. A test that passes never waits as long.
pub const TIMEOUT: Duration = Duration::from_mins(2);

/// Waits until `condition` holds.
///
/// # Panics
///
/// The condition does not hold within [`TIMEOUT`]; the message has `description`.
pub fn wait_until(description: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < TIMEOUT, "waited in vain: {description}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Calls `start` with one processor, for which a server starts one thread of fibers.
///
/// # Errors
///
/// The error of `start`, or the kernel does not set the processors.
pub fn with_one_processor<T: Send>(start: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let start = || {
            let all = sched_getaffinity(None)?;
            let mut one = CpuSet::new();
            let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu));
            one.set(first.context("no processor")?);
            sched_setaffinity(None, &one)?;
            start()
        };
        scope.spawn(start).join().map_err(|_| anyhow::anyhow!("a start panicked"))?
    })
}

/// Waits until `program` has a child for which `is_wanted` holds, and returns the process ID
/// of the child.
///
/// # Errors
///
/// The program ends first, or has no such child within [`TIMEOUT`]. The error has what the
/// program wrote to its standard error, if that is a pipe. The program is killed.
pub fn wait_for_child(program: &mut Child, is_wanted: impl Fn(u32) -> bool) -> Result<u32> {
    let begun = Instant::now();
    loop {
        let children = children(program.id()).unwrap_or_default();
        if let Some(child) = children.into_iter().find(|child| is_wanted(*child)) {
            return Ok(child);
        }
        if begun.elapsed() > TIMEOUT || program.try_wait()?.is_some() {
            // The program may have ended already.
            let _ = program.kill();
            let mut stderr = String::new();
            if let Some(pipe) = &mut program.stderr {
                pipe.read_to_string(&mut stderr)?;
            }
            bail!("the program has no such child: {stderr}");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends the process `pid` a signal by name, such as `TERM`.
///
/// # Errors
///
/// The process has ended, or belongs to another user.
pub fn send_signal(pid: u32, name: &str) -> Result<()> {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status()?;
    ensure!(sent.success(), "cannot send {name}");
    Ok(())
}

/// A server in a process of its own. Dropping it kills the process.
pub struct Server {
    child: Child,
    endpoints: Vec<String>,
    addresses: Vec<SocketAddr>,
    stderr: Receiver<String>,
    log: Vec<String>,
}

impl Server {
    /// Starts `command` and waits until it has printed `listening URL` for `sockets`
    /// sockets.
    ///
    /// # Errors
    ///
    /// The program ends first. The error has its standard error.
    pub fn start(command: &mut Command, sockets: usize) -> Result<Server> {
        Server::start_logging_to(Stdio::piped(), command, sockets)
    }

    /// As [`start`](Self::start), with `stderr` as the standard error of the program. Unless
    /// it is a pipe, [`log`](Self::log) is empty.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn start_logging_to(
        stderr: impl Into<Stdio>,
        command: &mut Command,
        sockets: usize,
    ) -> Result<Server> {
        Server::start_with(Stdio::null(), stderr, command, sockets)
    }

    /// As [`start_logging_to`](Self::start_logging_to), with `stdin` as the standard input of
    /// the program.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn start_with(
        stdin: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
        command: &mut Command,
        sockets: usize,
    ) -> Result<Server> {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let stdout = lines(child.stdout.take().context("there is no standard output")?);
        let stderr = child.stderr.take().map_or_else(|| channel().1, lines);
        let mut server =
            Server { child, endpoints: Vec::new(), addresses: Vec::new(), stderr, log: Vec::new() };
        while server.endpoints.len() < sockets {
            match stdout.recv_timeout(TIMEOUT) {
                Ok(line) => {
                    let endpoint = line.strip_prefix("listening ");
                    let endpoint =
                        endpoint.with_context(|| format!("the program printed `{line}`"))?;
                    let tcp = ["tcp://", "tls://"];
                    if let Some(address) = tcp.iter().find_map(|it| endpoint.strip_prefix(it)) {
                        let (address, _) = address.split_once('?').unwrap_or((address, ""));
                        server.addresses.push(address.parse()?);
                    }
                    server.endpoints.push(endpoint.to_owned());
                }
                Err(_) => bail!("the program does not listen: {}", server.everything_logged()?),
            }
        }
        Ok(server)
    }

    /// Returns the first TCP address at which the server listens.
    ///
    /// # Panics
    ///
    /// The server listens on no TCP socket.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Returns the endpoints at which the server listens, as it printed them.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Returns the TCP addresses at which the server listens, in the order of `--bind`.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Connects to the first TCP address of the server.
    ///
    /// # Errors
    ///
    /// The server does not listen.
    pub fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(stream)
    }

    /// Returns the process ID of the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next line of the log that contains `text`, and returns it.
    /// [`log`](Self::log) has the lines before it.
    ///
    /// # Errors
    ///
    /// The server does not log such a line within [`TIMEOUT`], or ends first.
    pub fn wait_for_log(&mut self, text: &str) -> Result<String> {
        loop {
            match self.stderr.recv_timeout(TIMEOUT) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.contains(text) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("`{text}` was not logged: {:#?}", self.log),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the server ended without logging `{text}`: {:#?}", self.log)
                }
            }
        }
    }

    /// Returns the lines of the log so far.
    pub fn log(&mut self) -> &[String] {
        self.log.extend(self.stderr.try_iter());
        &self.log
    }

    /// Sends the server a signal by name, such as `TERM`.
    ///
    /// # Errors
    ///
    /// As for [`send_signal`].
    pub fn signal(&self, name: &str) -> Result<()> {
        send_signal(self.pid(), name)
    }

    /// Stops the process with a signal, and waits until it has stopped: the kernel stops a thread
    /// that runs only after the call that sends the signal.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")?;
        wait_until("the process has stopped", || is_stopped(self.pid()).unwrap_or(true));
        Ok(())
    }

    /// Waits until the server ends.
    ///
    /// # Errors
    ///
    /// The server does not end within [`TIMEOUT`].
    pub fn wait(&mut self) -> Result<ExitStatus> {
        // A log in a pipe ends together with the server.
        self.everything_logged()?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(begun.elapsed() < TIMEOUT, "the server does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends the server SIGTERM, and waits until it ends.
    ///
    /// # Errors
    ///
    /// The server does not end within [`TIMEOUT`].
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait()
    }

    fn everything_logged(&mut self) -> Result<String> {
        loop {
            match self.stderr.recv_timeout(TIMEOUT) {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => return Ok(self.log.join("\n")),
                Err(RecvTimeoutError::Timeout) => bail!("the server does not end: {:#?}", self.log),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the lines of a pipe. A thread reads them as they come, so that the writer never
/// blocks.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
