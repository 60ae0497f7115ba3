//! A log that no process reads, on each kind of file. It delays neither a request nor the end
//! of the server, and the server counts the lines that it drops.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use rustix::fs::{OFlags, fcntl_setfl};
use socketserver_tests::process::{Server, wait_until};
use socketserver_tests::procfs::{children, state};

use crate::client::ask;
use crate::fixture::{FIXTURE, File as Handler, Fixture, MODES, serve};

/// A user ID that no user has.
const USER: u32 = 60123;

/// A handler that logs a line of 6 KiB and then fails, which is a second line.
const VERBOSE: Fixture<'static> = Fixture {
    handle: "(memory.fill (i32.const 2048) (i32.const 16) (i32.const 1024))
        (call $host_log (i32.const 2) (i32.const 2048) (i32.const 1024))
        (return (call $failed))",
    ..FIXTURE
};

/// The kind of the log's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Terminal,
    Pipe,
    Socket,
}

/// A number of requests whose lines, 260 KiB, no such file can hold.
const REQUESTS: usize = 40;
/// The number of lines of twice as many requests.
const LINES: usize = 2 * 2 * REQUESTS;

impl Kind {
    /// Opens both ends: the end that the server writes to, and the end that the test reads.
    fn open(self) -> (OwnedFd, File) {
        let (writer, reader) = match self {
            Kind::Terminal => {
                let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).unwrap();
                grantpt(&master).unwrap();
                unlockpt(&master).unwrap();
                let slave = ptsname_r(&master).unwrap();
                let noctty = OFlags::NOCTTY.bits().cast_signed();
                let mut options = fs::OpenOptions::new();
                let slave = options.read(true).write(true).custom_flags(noctty).open(slave);
                (slave.unwrap().into(), OwnedFd::from(master))
            }
            Kind::Pipe => {
                let (reader, writer) = io::pipe().unwrap();
                (writer.into(), reader.into())
            }
            Kind::Socket => {
                let (writer, reader) = UnixStream::pair().unwrap();
                (writer.into(), reader.into())
            }
        };
        fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
        (writer, reader.into())
    }
}

/// Serves a handler with the log to `stderr`. If `other_user`, the server does not run as the
/// user to whom the file belongs.
fn start(stderr: OwnedFd, handler: &Handler, other_user: bool, options: &[&str]) -> Server {
    let host = serve();
    let mut command = Command::new(host.get_program());
    command.args(host.get_args()).arg(&handler.path).arg("--no-cache").args(options);
    if other_user {
        let world = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(handler.path.parent().unwrap(), world).unwrap();
        command.uid(USER).gid(USER);
    }
    Server::start_logging_to(Stdio::from(stderr), &mut command, 1).unwrap()
}

/// Appends to `lines` the data of the log that was not read before.
fn read_available(mut reader: &File, lines: &mut Vec<u8>) {
    // The file does not block: an error means that there is no more data.
    let _ = reader.read_to_end(lines);
}

fn check_unread(kind: Kind, other_user: bool) {
    if other_user && !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    for mode in MODES {
        let handler = Handler::new("talks.wat", VERBOSE.text().as_bytes());
        let (writer, reader) = kind.open();
        // Each process of the server may report lines that it dropped.
        let options = [mode, &["--poll-interval", "0.1", "--log-level", "warning", "--stats"]];
        let mut server = start(writer, &handler, other_user, &options.concat());
        let count = |lines: &[u8]| {
            let text = String::from_utf8_lossy(lines);
            let text = text.replace('\r', "");
            let lines = || text.lines().filter(|line| line.starts_with("20"));
            let is_whole = |line: &&str| {
                let is_of_guest = line.contains(" guest: ") && line.contains("peer=\"127");
                line.ends_with("reason=\"error\"") || is_of_guest && line.ends_with('"')
            };
            let whole = lines().filter(is_whole).count();
            let dropped =
                lines().filter_map(|line| line.rsplit_once("dropped=")?.1.parse::<usize>().ok());
            (whole, dropped.sum::<usize>())
        };
        // In the second round the server knows that the log is stuck.
        for _ in 0..2 {
            for _ in 0..REQUESTS {
                assert_eq!(ask(&server, b"x"), b"", "{kind:?} {mode:?}");
            }
            assert_eq!(ask(&server, b"-"), b"ok", "{kind:?} {mode:?}");
        }
        let mut lines = Vec::new();
        wait_until(&format!("{kind:?} {mode:?}: each line is logged or counted"), || {
            read_available(&reader, &mut lines);
            let (whole, dropped) = count(&lines);
            dropped > 0 && whole + dropped >= LINES
        });
        let (whole, dropped) = count(&lines);
        // A line that was cut just before its end can look whole.
        assert!(whole + dropped <= LINES + 2, "{kind:?} {mode:?}: {whole} and {dropped}");
        // The log is stuck again, and the server ends nevertheless.
        for _ in 0..REQUESTS {
            assert_eq!(ask(&server, b"x"), b"", "{kind:?} {mode:?}");
        }
        assert!(server.stop().unwrap().success(), "{kind:?} {mode:?}");
    }
}

#[test]
fn an_unread_terminal_delays_no_request() {
    check_unread(Kind::Terminal, false);
}

#[test]
fn an_unread_terminal_of_another_user_delays_no_request() {
    check_unread(Kind::Terminal, true);
}

#[test]
fn an_unread_pipe_delays_no_request() {
    check_unread(Kind::Pipe, false);
}

#[test]
fn an_unread_pipe_of_another_user_delays_no_request() {
    check_unread(Kind::Pipe, true);
}

#[test]
fn an_unread_socket_delays_no_request() {
    check_unread(Kind::Socket, false);
}

/// If the server cannot open the log anew, relays write it: processes that may wait for the
/// reader.
#[test]
fn the_relays_end_with_a_server_whose_log_is_not_read() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let handler = Handler::new("talks.wat", VERBOSE.text().as_bytes());
    let (writer, reader) = Kind::Pipe.open();
    let mut server = start(writer, &handler, true, &[]);
    // One relay is for standard output, the other for standard error.
    let relays = children(server.pid()).unwrap();
    assert_eq!(relays.len(), 2, "{relays:?}");
    for _ in 0..REQUESTS {
        ask(&server, b"x");
    }
    assert!(server.stop().unwrap().success());
    wait_until("the relays end", || {
        relays.iter().all(|relay| matches!(state(*relay), Err(_) | Ok('Z')))
    });
    drop(reader);
}

#[test]
fn ready_lines_that_cannot_be_written_do_not_delay_the_server() {
    let (reader, mut writer) = io::pipe().unwrap();
    let nonblocking = |flag| fcntl_setfl(&writer, flag).unwrap();
    nonblocking(OFlags::NONBLOCK);
    while (&writer).write(&[b'\n'; 4096]).is_ok() {}
    nonblocking(OFlags::empty());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server");
    let mut command = serve();
    command.arg("--bind").arg(format!("unix://{}", path.display()));
    let mut server = command.stdout(writer.try_clone().unwrap()).stderr(Stdio::piped()).spawn();
    let server = server.as_mut().unwrap();
    let mut log = io::BufReader::new(server.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("standard output did not take") {
        line.clear();
        assert!(io::BufRead::read_line(&mut log, &mut line).unwrap() > 0, "the server has ended");
    }
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"answered").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "ANSWERED");
    let pid = rustix::process::Pid::from_child(server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.wait().unwrap().success());
    writer.flush().unwrap();
    assert!(reader.as_fd().try_clone_to_owned().is_ok());
}
