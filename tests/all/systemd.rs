//! The server under systemd: the sockets that it is passed, and what it reports.

mod errors;
mod reports;
mod sockets;

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};
use tempfile::TempDir;

use crate::fixture::host;

/// Starts the rest of its arguments with the descriptors that come through standard input at 3
/// and above, as systemd does.
const AS_SYSTEMD: &str = "\
import fcntl, os, socket, sys
_, passed, _, _ = socket.recv_fds(socket.socket(fileno=0), 1, 64)
for at, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in passed]):
    os.dup2(fd, 3 + at)
os.environ['LISTEN_PID'] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])";

/// A program that will be started as systemd starts it.
pub struct Service {
    pub command: Command,
    stdin: UnixStream,
}

impl Service {
    /// Makes a service from the command line of the binary, which is passed sockets with names.
    pub fn new(sockets: &[(&str, OwnedFd)], arguments: &[&str]) -> Service {
        let program = host();
        let mut command = Command::new("python3");
        command.args(["-c", AS_SYSTEMD]).arg(program.get_program()).args(arguments);
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
        command.env("LISTEN_FDS", sockets.len().to_string());
        command.env("LISTEN_FDNAMES", names.join(":"));
        let (stdin, ours) = UnixStream::pair().unwrap();
        let fds: Vec<_> = sockets.iter().map(|(_, socket)| socket.as_raw_fd()).collect();
        let (data, rights) = ([IoSlice::new(b"-")], [ControlMessage::ScmRights(&fds)]);
        let rights = if fds.is_empty() { &[] } else { &rights[..] };
        sendmsg::<()>(ours.as_raw_fd(), &data, rights, MsgFlags::empty(), None).unwrap();
        Service { command, stdin }
    }

    /// Starts the server, and waits until it listens at all of its sockets.
    pub fn start(mut self, sockets: usize) -> Server {
        let stdin = OwnedFd::from(self.stdin);
        Server::start_with(stdin, Stdio::piped(), &mut self.command, sockets).unwrap()
    }

    /// Waits for the end of a server that does not start. Returns its exit code and its error.
    pub fn fail(mut self) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } =
            self.command.stdin(OwnedFd::from(self.stdin)).output().unwrap();
        assert!(stdout.is_empty(), "{stdout:?}");
        (status.code(), String::from_utf8(stderr).unwrap())
    }
}

/// Returns the command line that serves a sample.
pub fn sample(name: &str, options: &[&str]) -> Vec<String> {
    let handler = build::guest("rust", name).unwrap().display().to_string();
    let options = options.iter().map(|option| (*option).to_owned());
    ["serve".to_owned(), handler].into_iter().chain(options).collect()
}

/// The socket of a service manager, which takes reports.
pub struct Manager {
    socket: UnixDatagram,
    /// The value of `NOTIFY_SOCKET`.
    pub address: String,
    _directory: Option<TempDir>,
}

impl Manager {
    pub fn at_path() -> Manager {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Manager::new(socket, path.display().to_string(), Some(directory))
    }

    pub fn at_abstract_name() -> Manager {
        // The path of a directory is a name that no other test has.
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().display().to_string();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Manager::new(socket, format!("@{name}"), Some(directory))
    }

    fn new(socket: UnixDatagram, address: String, directory: Option<TempDir>) -> Manager {
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Manager { socket, address, _directory: directory }
    }

    /// Returns the next report.
    pub fn next(&self) -> String {
        let mut report = [0; 4096];
        let length = self.socket.recv(&mut report).unwrap();
        String::from_utf8(report[..length].to_vec()).unwrap()
    }

    /// Returns the next report, if there is one within half a second.
    pub fn next_within_a_round(&self) -> Option<String> {
        self.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut report = [0; 4096];
        let length = self.socket.recv(&mut report).ok();
        self.socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        length.map(|length| String::from_utf8_lossy(&report[..length]).into_owned())
    }

    /// Returns the next report that has this line.
    pub fn wait_for(&self, line: &str) -> String {
        loop {
            let report = self.next();
            if report.lines().any(|each| each == line) {
                return report;
            }
        }
    }
}
