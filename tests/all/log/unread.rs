//! A log that is not read, whatever it is: it holds up no request and not the end, and
//! what it lost is counted.

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
use socketserver_tests::process::Server;

use crate::attacks::wait_until;
use crate::client::ask;
use crate::fixture::{FIXTURE, File as Handler, Fixture, MODES, serve};

/// Of nobody.
const USER: u32 = 60123;

/// To `x` it logs a line of 6 KiB, and then fails: two lines.
const TALKS: Fixture<'static> = Fixture {
    handle: "(memory.fill (i32.const 2048) (i32.const 16) (i32.const 1024))
        (call $host_log (i32.const 2) (i32.const 2048) (i32.const 1024))
        (return (call $failed))",
    ..FIXTURE
};

/// What the log goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Terminal,
    Pipe,
    Socket,
}

/// How many requests are more than any of them has room for: 260 KiB of lines.
const REQUESTS: usize = 40;
/// How many lines that makes, when they are asked for twice.
const LINES: usize = 2 * 2 * REQUESTS;

impl Kind {
    /// The end that is written to, and the one that reads.
    fn ends(self) -> (OwnedFd, File) {
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

/// Serves with the log to `stderr`, as another user than the one of the log if `foreign`.
fn start(stderr: OwnedFd, handler: &Handler, foreign: bool, options: &[&str]) -> Server {
    let host = serve();
    let mut command = Command::new(host.get_program());
    command.args(host.get_args()).arg(&handler.path).arg("--no-cache").args(options);
    if foreign {
        let world = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(handler.path.parent().unwrap(), world).unwrap();
        command.uid(USER).gid(USER);
    }
    Server::start_logging_to(Stdio::from(stderr), &mut command, 1).unwrap()
}

/// The log, as far as it was written and not read before. It ends where there is nothing
/// more yet.
fn read_on(mut reader: &File, lines: &mut Vec<u8>) {
    let _ = reader.read_to_end(lines);
}

fn not_read(kind: Kind, foreign: bool) {
    if foreign && !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    for mode in MODES {
        let handler = Handler::new("talks.wat", TALKS.text().as_bytes());
        let (writer, reader) = kind.ends();
        // Each of the processes may tell what was lost.
        let options = [mode, &["--poll-interval", "0.1", "--log-level", "warning", "--stats"]];
        let mut server = start(writer, &handler, foreign, &options.concat());
        let seen = |lines: &[u8]| {
            let text = String::from_utf8_lossy(lines);
            let text = text.replace('\r', "");
            let lines = || text.lines().filter(|line| line.starts_with("20"));
            let is_whole = |line: &&str| {
                let of_guest = line.contains(" guest: ") && line.contains("peer=\"127");
                line.ends_with("reason=\"error\"") || of_guest && line.ends_with('"')
            };
            let whole = lines().filter(is_whole).count();
            let lost =
                lines().filter_map(|line| line.rsplit_once("dropped=")?.1.parse::<usize>().ok());
            (whole, lost.sum::<usize>())
        };
        // The second time it is known to be stuck.
        for _ in 0..2 {
            for _ in 0..REQUESTS {
                assert_eq!(ask(&server, b"x"), b"", "{kind:?} {mode:?}");
            }
            assert_eq!(ask(&server, b"-"), b"ok", "{kind:?} {mode:?}");
        }
        let mut lines = Vec::new();
        wait_until(&format!("{kind:?} {mode:?}: what was lost is counted"), || {
            read_on(&reader, &mut lines);
            let (whole, lost) = seen(&lines);
            lost > 0 && whole + lost >= LINES
        });
        let (whole, lost) = seen(&lines);
        // One may have been torn just before its end, and look whole.
        assert!(whole + lost <= LINES + 2, "{kind:?} {mode:?}: {whole} and {lost}");
        // Stuck again, it ends nevertheless.
        for _ in 0..REQUESTS {
            assert_eq!(ask(&server, b"x"), b"", "{kind:?} {mode:?}");
        }
        assert!(server.stop().unwrap().success(), "{kind:?} {mode:?}");
    }
}

#[test]
fn a_terminal() {
    not_read(Kind::Terminal, false);
}

#[test]
fn a_terminal_of_another_user() {
    not_read(Kind::Terminal, true);
}

#[test]
fn a_pipe() {
    not_read(Kind::Pipe, false);
}

#[test]
fn a_pipe_of_another_user() {
    not_read(Kind::Pipe, true);
}

#[test]
fn a_socket() {
    not_read(Kind::Socket, false);
}

/// The host ends, and so does the process that waited for the reader in its place.
#[test]
fn nothing_is_left_of_a_server_whose_log_is_not_read() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let handler = Handler::new("talks.wat", TALKS.text().as_bytes());
    let (writer, reader) = Kind::Pipe.ends();
    let mut server = start(writer, &handler, true, &[]);
    // For standard output and for standard error.
    let children = format!("/proc/{0}/task/{0}/children", server.pid());
    let children = fs::read_to_string(children).unwrap();
    let relays: Vec<&str> = children.split_whitespace().collect();
    assert_eq!(relays.len(), 2, "{relays:?}");
    for _ in 0..REQUESTS {
        ask(&server, b"x");
    }
    assert!(server.stop().unwrap().success());
    wait_until("the relays end", || {
        relays.iter().all(|relay| {
            let state = fs::read_to_string(format!("/proc/{relay}/stat"));
            state.map_or(true, |state| state.contains(") Z "))
        })
    });
    drop(reader);
}

#[test]
fn lines_that_say_where_it_listens_hold_up_nothing() {
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
        assert!(io::BufRead::read_line(&mut log, &mut line).unwrap() > 0, "it has ended");
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
