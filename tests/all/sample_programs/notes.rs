//! The programs of the notes under CPython, and the samples that take their place: the same
//! conversation has the same bytes and the same end.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};

use crate::fixture::{MODES, host};

fn program(name: &str) -> PathBuf {
    build::root().join("tests/conformance/notes").join(name)
}

/// Starts a server of the notes under CPython. Returns `None` if there is no CPython.
fn cpython(name: &str) -> Option<Server> {
    let mut command = Command::new("python3");
    command.arg("-u").arg(program("run.py")).arg(program(name));
    // The shell of the command server.
    command.env("LC_ALL", "C").env("TZ", "UTC");
    if let Err(error) = Command::new("python3").arg("--version").output() {
        println!("skipped: cannot run python3: {error}");
        return None;
    }
    Some(Server::start(&mut command, 1).unwrap())
}

/// Starts the sample, on an endpoint of this scheme.
fn sample(name: &str, scheme: &str, options: &[&str]) -> Server {
    let mut command = host();
    command.arg("serve").arg(build::guest("rust", name).unwrap()).args(options);
    Server::start(command.args(["--bind", &format!("{scheme}://127.0.0.1:0")]), 1).unwrap()
}

/// Returns what the server still sends, and its end.
fn end(mut stream: TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);
    (rest, end.map(drop).map_err(|error: Error| error.kind()))
}

/// Sends these bytes, finishes sending, and returns the answer with the end.
fn ask(server: &Server, data: &[u8]) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut stream = server.connect().unwrap();
    stream.write_all(data).unwrap();
    let _ = stream.shutdown(Shutdown::Write);
    end(stream)
}

/// Checks that CPython and the sample answer each of these with the same bytes and the same end.
fn compare(notes: &str, name: &str, requests: &[&[u8]]) {
    let Some(cpython) = cpython(notes) else { return };
    for mode in MODES {
        let sample = sample(name, "tcp", mode);
        for request in requests {
            let expected = ask(&cpython, request);
            assert_eq!(expected.1, Ok(()));
            assert_eq!(ask(&sample, request), expected, "{mode:?} {request:?}");
        }
    }
}

#[test]
fn the_upper_servers_of_the_notes_and_the_sample_send_the_same_bytes() {
    let requests: [&[u8]; 5] =
        [b"hello world\n", b" \t\r\n x \x0b\x0c", b"", b"\xff\x00a", &[b'q'; 1024]];
    compare("upper_server.py", "upper", &requests);
    compare("threading_server.py", "upper", &requests);
}

#[test]
fn the_steps_of_the_notes_and_the_sample_send_the_same_bytes() {
    compare("steps_server.py", "echo", &[b"steps", b"", &[b's'; 1000]]);
}

#[test]
fn a_chat_is_the_same_in_cpython_and_here() {
    let long = [b'l'; 4096];
    let full = [&long[..4095], b"\nafter\nbye\n"].concat();
    let requests: [&[u8]; 6] = [b"one\n\n\r\nbye\n", b"no end", b"", b"bye", &long, &full];
    compare("chat_line_server.py", "chat-line", &requests);
}

/// Sends a command, and returns the announced length and the output.
fn run(stream: &mut TcpStream, command: &str) -> (String, Vec<u8>) {
    stream.write_all(command.as_bytes()).unwrap();
    // The length comes alone: the server waits for the acknowledgement.
    let mut length = [0; 64];
    let read = stream.read(&mut length).unwrap();
    let length = str::from_utf8(&length[..read]).unwrap().to_owned();
    stream.write_all("准备好接收了".as_bytes()).unwrap();
    let mut output = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut output).unwrap();
    (length, output)
}

/// Makes a directory with files, and returns it with the option that grants it to a handler under
/// the path that the shell uses.
fn granted() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let every_byte: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    std::fs::write(path.join("big"), every_byte).unwrap();
    std::fs::write(path.join("text"), "one\nline after another\n").unwrap();
    for name in ["empty", "Upper", "a.b", ".hidden", "größe"] {
        std::fs::write(path.join(name), "").unwrap();
    }
    std::fs::create_dir_all(path.join("folder/nothing")).unwrap();
    let grant = format!("{0}::{0}:ro", path.display());
    (folder, grant)
}

#[test]
fn the_command_server_of_the_notes_and_the_sample_send_the_same_bytes() {
    let Some(cpython) = cpython("command_server.py") else { return };
    let (folder, grant) = granted();
    let folder = folder.path().display();
    let commands = [
        "cat F/text",
        "ls F",
        "cat F/big",
        "cat F/empty",
        "ls F/folder",
        "ls F/folder/nothing",
        "cat F/text",
    ];
    let converse = |server: &Server| {
        let mut stream = server.connect().unwrap();
        let outputs =
            commands.map(|line| run(&mut stream, &line.replace('F', &folder.to_string())));
        stream.shutdown(Shutdown::Write).unwrap();
        // The server of the notes keeps a connection until it has the next one.
        let _next = server.connect().unwrap();
        (outputs, end(stream))
    };
    let expected = converse(&cpython);
    assert_eq!(expected.0[1].1, "Upper\na.b\nbig\nempty\nfolder\ngröße\ntext\n".as_bytes());
    assert_eq!(expected.0[3].1, b"cmd exec success,has not output!");
    assert_eq!(expected.1, (Vec::new(), Ok(())));
    for mode in MODES {
        let sample = sample("command", "tcp", &[mode, &["--dir", &grant]].concat());
        assert_eq!(converse(&sample), expected, "{mode:?}");
        let date = |server: &Server| run(&mut server.connect().unwrap(), "date");
        loop {
            let (before, here, after) = (date(&cpython), date(&sample), date(&cpython));
            if before == after {
                assert_eq!(here, before, "{mode:?}");
                break;
            }
        }
    }
}

/// The output of a client of the notes, its status, and the file that it wrote.
type Ran = (String, Option<i32>, Option<Vec<u8>>);

/// Runs a client of the notes against a server, with this standard input.
fn client(name: &str, server: SocketAddr, input: &str) -> Ran {
    let text = std::fs::read_to_string(program(name)).unwrap();
    let port = server.port().to_string();
    let text = text.replace("9999", &port).replace("12800", &port);
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", &text, "hello", "world"]).current_dir(folder.path());
    command.env("PYTHONIOENCODING", "utf-8");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = command.spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    let written = std::fs::read(folder.path().join("test_copy.html")).ok();
    (String::from_utf8(output.stdout).unwrap(), output.status.code(), written)
}

#[test]
fn the_clients_of_the_notes_see_no_difference() {
    let (folder, grant) = granted();
    let folder = Path::new(folder.path()).display();
    let commands = format!("\ncat {folder}/text\n  ls {folder}\ncat {folder}/big\n");
    for (name, server, here, options, input, shown) in [
        (
            "command_client.py",
            "command_server.py",
            "command",
            &["--dir", &grant][..],
            &*commands,
            "数据收完了 300000",
        ),
        ("upper_client.py", "upper_server.py", "upper", &[], "", "Received: HELLO WORLD"),
        ("steps_client.py", "steps_server.py", "echo", &[], "", "b'steps'"),
        ("pseudocode_client.py", "steps_server.py", "echo", &[], "", ""),
        ("receiver_client.py", "receiver_server.py", "receiver", &[], "", ""),
    ] {
        let Some(cpython) = cpython(server) else { return };
        let expected = client(name, cpython.address(), input);
        assert!(expected.0.contains(shown), "{name}: {expected:?}");
        assert_eq!(expected.2.is_some(), name == "command_client.py", "{name}");
        let sample = sample(here, "tcp", options);
        assert_eq!(client(name, sample.address(), input), expected, "{name}");
    }
}

/// Both end after one connection, and report the same.
#[test]
fn the_receiver_of_the_notes_and_the_sample_report_the_same() {
    let Some(cpython) = cpython("receiver_server.py") else { return };
    for mut server in [cpython, sample("receiver", "tcp", &["--once"])] {
        let mut stream = server.connect().unwrap();
        let (here, there) = (stream.local_addr().unwrap(), server.address());
        stream.write_all(b"Hello World!").unwrap();
        assert_eq!(end(stream), (Vec::new(), Ok(())));
        assert!(server.wait().unwrap().success());
        // Python's addresses and bytes, in Rust's form. Spaces and ends of lines differ.
        let mut log =
            server.log().concat().replace(' ', "").replace("b'HelloWorld!'", "HelloWorld!");
        for address in [here, there] {
            log = log.replace(&format!("('127.0.0.1',{})", address.port()), &address.to_string());
        }
        for report in [
            format!("Now,Wehaveacceptedaconnectionfrom:{here}"),
            format!("SocketNameis:{there}"),
            format!("SocketPeeris:{here}"),
            "Themessagewehavereceivedis:HelloWorld!".to_owned(),
        ] {
            assert!(log.contains(&report), "{report}: {log}");
        }
    }
}

fn datagram_client(server: &Server) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client.connect(server.endpoints()[0].strip_prefix("udp://").unwrap()).unwrap();
    client
}

#[test]
fn the_time_is_the_same_in_cpython_and_here() {
    let Some(cpython) = cpython("time_server.py") else { return };
    let ask = |server: &Server| {
        let client = datagram_client(server);
        client.send(b"").unwrap();
        let mut answer = [0; 100];
        let length = client.recv(&mut answer).unwrap();
        answer[..length].to_vec()
    };
    for mode in MODES {
        let sample = sample("time", "udp", mode);
        loop {
            let (before, here, after) = (ask(&cpython), ask(&sample), ask(&cpython));
            if before == after {
                assert_eq!(here, before, "{mode:?}");
                break;
            }
        }
        let port = sample.endpoints()[0].rsplit(':').next().unwrap();
        let client = build::root().join("guests/time/client.py");
        let output = Command::new("python3").arg(client).arg(port).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.split_whitespace().count() == 5 && printed.contains(" 20"), "{printed}");
    }
}

/// Two servers that answered each other would never stop.
#[test]
fn the_time_server_answers_empty_datagrams_only() {
    for mode in MODES {
        let mut server = sample("time", "udp", mode);
        let client = datagram_client(&server);
        for datagram in [&b"x"[..], b"\xe8\x00\x00\x00", &vec![0; 60_000], b""] {
            client.send(datagram).unwrap();
        }
        // It has answered what came before.
        assert!(server.stop().unwrap().success());
        let mut answer = [0; 100];
        assert_eq!(client.recv(&mut answer).unwrap(), 4);
        client.set_nonblocking(true).unwrap();
        assert!(client.recv(&mut answer).is_err(), "{mode:?}");
    }
}
