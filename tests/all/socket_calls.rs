//! The same calls on the socket of a request, of a handler in CPython and of handlers here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};

use crate::fixture::{MODES, serve};

/// The data that the client sends, each in one piece.
const SCRIPT: &[&str] = &[
    // Flags. The data follows the line of the call.
    // MSG_PEEK, and then all.
    "peek 3 2\nabcdef",
    "peek 100 66\nabcdef",
    // MSG_WAITALL.
    "recv 4 256\nabcd",
    "recv 100 64\n", // MSG_DONTWAIT
    "recv 1 64\n",
    "recv 5 320\nabc", // MSG_DONTWAIT and MSG_WAITALL
    "recv 0 2\n",
    "recv_into 6 64\nabcd",
    "recv_into 4 0\nabcd",
    "recvfrom 10\nabc",
    "recvfrom 3 64\n",
    "send hello 0\n",
    "send hello 16384\n",
    "sendall hello 32768\n", // MSG_MORE
    "sendall hello 64\n",
    // Timeouts.
    "gettimeout\n",
    "getblocking\n",
    "settimeout 0.05\n",
    "gettimeout\n",
    "getblocking\n",
    "recv 5 0\n",
    "recv 5 256\nabc", // MSG_WAITALL does not wait with a timeout.
    "recv 5 2\n",
    "recv 5 64\n",
    "setblocking True\n",
    "gettimeout\n",
    // Files. What is in the buffer of one is lost with it.
    "readline rb\none\ntwo\n",
    "readline rb 0\none\n",
    "readline rwb 3\none\n",
    "write wb\n",
    "write wb 0\n",
    "write rwb 100\n",
    // Attributes and options.
    "attributes\n",
    "names\n",
    "getsockopt 1 3\n",
    "getsockopt 1 39\n",
    "getsockopt 1 38\n",
    "getsockopt 1 4\n",
    "getsockopt 1 3 4\n",
    "getsockopt 1 3 2\n",
    "setsockopt 1 9 1\n",
    "getsockopt 1 9\n",
    "setsockopt_bytes 1 9 x00000000\n",
    "getsockopt 1 9\n",
    "setsockopt_bytes 1 9 x0000\n",
    "setsockopt 6 4 77\n",
    "getsockopt 6 4\n",
    "setsockopt 6 4 0\n",
    "setsockopt 6 6 128\n",
    "setsockopt 0 1 16\n",
    "getsockopt 0 1\n",
    "setsockopt 1 8 20000\n",
    "getsockopt 1 8\n",
    "getsockopt 1 13 8\n",
    "setsockopt_bytes 1 13 x0100000005000000\n",
    "getsockopt 1 13 8\n",
    "getsockopt 1 13\n",
    "setsockopt 1 13 1\n",
    "setsockopt_bytes 1 13 x0000000000000000\n",
    "setsockopt 6 1 1\n",
    "getsockopt 6 1\n",
    // A file of a granted directory. Its bytes stand before the answer.
    "sendfile {file} 0 -1\n",
    "sendfile {file} 3 4\n",
    "sendfile {file} 8 100\n",
    "sendfile {file} 10 5\n",
    "sendfile {file} 99 5\n",
    "sendfile {file}x 0 5\n",
    // The other end has finished sending.
    "shutdown 0\n",
];

/// The handlers, and the calls that their languages do not have: Go reads and writes a socket
/// with `bufio`, and C, C++ and JavaScript have no files on sockets.
const HANDLERS: [(&str, &[&str]); 6] = [
    ("rust", &[]),
    ("python", &[]),
    ("go", FILES),
    ("c", FILES),
    ("cpp", FILES),
    ("javascript", FILES),
];

const FILES: &[&str] = &["readline", "write"];

/// The file that handlers send, in the directory that the server grants.
const FILE: (&str, &[u8]) = ("file", b"abcdefghij");

/// Runs the script without some calls, and returns what the server sent for each step.
fn transcript(mut stream: TcpStream, without: &[&str], folder: &Path) -> Vec<String> {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut all = Vec::new();
    let is_left_out = |step: &str| without.iter().any(|call| step.starts_with(call));
    let file = folder.join(FILE.0);
    for step in SCRIPT.iter().filter(|step| !is_left_out(step)) {
        let step = step.replace("{file}", file.to_str().unwrap());
        stream.write_all(step.as_bytes()).unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap_or_else(|error| panic!("{step}: {error} {all:?}"));
        all.push(format!("{}: {answer}", step.escape_default()));
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    answers.read_to_string(&mut rest).unwrap();
    all.push(rest);
    all
}

/// A server of CPython, killed when it is dropped.
pub struct Reference(Child, String);

impl Reference {
    /// Starts the server `name` of `tests/conformance/ref`. Returns `None` if there is no Python.
    pub fn start(name: &str) -> Option<Reference> {
        let script = build::root().join(format!("tests/conformance/ref/{name}.py"));
        let started = Command::new("python3").arg(script).stdout(Stdio::piped()).spawn();
        let Ok(mut server) = started else {
            println!("skipped: there is no python3");
            return None;
        };
        let mut ready = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        let address = ready.trim().rsplit(' ').next().unwrap().to_owned();
        Some(Reference(server, address))
    }

    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.1).unwrap()
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_same_calls_have_the_same_results_in_cpython_and_here() {
    let Some(reference) = Reference::start("calls") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE.0), FILE.1).unwrap();
    let path = folder.path().to_str().unwrap();
    let grant = format!("{path}::{path}:ro");
    for (language, without) in HANDLERS {
        let expected = transcript(reference.connect(), without, folder.path());
        assert!(expected.iter().any(|line| line.contains("ok 616263")), "{expected:#?}");
        assert!(expected.iter().any(|line| line.contains(": defgok 4")), "{expected:#?}");
        for mode in MODES {
            let mut command = serve();
            command.arg(build::guest(language, "calls").unwrap()).args(mode);
            command.args(["--dir", &grant]);
            let server = Server::start(&mut command, 1).unwrap();
            let here = transcript(server.connect().unwrap(), without, folder.path());
            for (here, expected) in here.iter().zip(&expected) {
                assert_eq!(here, expected, "{language} {mode:?}");
            }
            assert_eq!(here.len(), expected.len());
        }
    }
}
