//! Programs that are started, waited for and ended.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a program may take to do what it must before a test gives up.
/// Nothing waits for as long as this unless it fails.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A server in a process of its own. It is killed when dropped.
pub struct Server {
    child: Child,
    endpoints: Vec<String>,
    addresses: Vec<SocketAddr>,
    stderr: Receiver<String>,
    log: Vec<String>,
}

impl Server {
    /// Starts `command` and waits until it has printed `listening URL` for
    /// `sockets` sockets.
    ///
    /// Errors: it ended first; what it said on standard error is in the error.
    pub fn start(command: &mut Command, sockets: usize) -> Result<Server> {
        Server::start_logging_to(Stdio::piped(), command, sockets)
    }

    /// The same, with something else as its standard error. Unless that is piped, its
    /// log is not to be had here.
    pub fn start_logging_to(
        stderr: impl Into<Stdio>,
        command: &mut Command,
        sockets: usize,
    ) -> Result<Server> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let stdout = lines(child.stdout.take().context("there is no standard output")?);
        let stderr = child.stderr.take().map_or_else(|| channel().1, lines);
        let mut server =
            Server { child, endpoints: Vec::new(), addresses: Vec::new(), stderr, log: Vec::new() };
        while server.endpoints.len() < sockets {
            match stdout.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let endpoint = line.strip_prefix("listening ");
                    let endpoint = endpoint.with_context(|| format!("it printed `{line}`"))?;
                    if let Some(address) = endpoint.strip_prefix("tcp://") {
                        let (address, _) = address.split_once('?').unwrap_or((address, ""));
                        server.addresses.push(address.parse()?);
                    }
                    server.endpoints.push(endpoint.to_owned());
                }
                Err(_) => bail!("it does not listen: {}", server.everything_logged()?),
            }
        }
        Ok(server)
    }

    /// Where it listens on TCP first.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where it listens, as it printed it.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Where it listens on TCP, for each `--bind`.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A connection to it.
    pub fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of its log that contains `text`, and returns it.
    /// Lines before it are kept for [`log`](Self::log).
    pub fn wait_for_log(&mut self, text: &str) -> Result<String> {
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.contains(text) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("`{text}` was not logged: {:#?}", self.log),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("it ended without logging `{text}`: {:#?}", self.log)
                }
            }
        }
    }

    /// The lines of its log that have been read so far.
    pub fn log(&mut self) -> &[String] {
        self.log.extend(self.stderr.try_iter());
        &self.log
    }

    /// Sends it a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) -> Result<()> {
        let sent =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status()?;
        anyhow::ensure!(sent.success(), "cannot send {name}");
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        // Its log ends when it does, if it is read here.
        self.everything_logged()?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks it to end, and waits.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait()
    }

    fn everything_logged(&mut self) -> Result<String> {
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => return Ok(self.log.join("\n")),
                Err(RecvTimeoutError::Timeout) => bail!("it does not end: {:#?}", self.log),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, read as they come so that the writer never blocks.
fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
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
