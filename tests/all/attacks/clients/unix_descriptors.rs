//! Clients of Unix sockets that pass a descriptor whose close takes long: a TCP socket
//! with unsent data and `SO_LINGER`. The kernel closes it in the thread that receives
//! or drops the message.
//!
//! The attacks are made on this kernel, and on one that cannot refuse to pass
//! descriptors, as those before Linux 6.16.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;
use std::{fs, thread};

use rustix::io::Errno;
use socket2::SockRef;
use socketserver_tests::build;
use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::{PATIENCE, Server};

use super::unix::pass;
use super::{Scene, place};
use crate::fixture::{MODES, host};

/// A TCP socket whose last close waits for longer than any test, and its other end.
fn lingering() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other_end, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.write(&[0; 1 << 14]).is_ok() {}
    SockRef::from(&socket).set_linger(Some(2 * PATIENCE)).unwrap();
    (socket.into(), other_end)
}

/// Sends `data` with such a socket beside it, which the sender then gives up. Where the
/// kernel refuses to pass it, the data alone is sent.
fn pass_lingering(client: impl AsFd, data: &[u8]) -> TcpStream {
    let (socket, other_end) = lingering();
    match pass(&client, data, &[socket.as_fd()]) {
        // If the server is faster, this is the last close: not for this thread to wait for.
        Ok(_) => drop(thread::spawn(|| drop(socket))),
        Err(Errno::PERM) => {
            SockRef::from(&socket).set_linger(None).unwrap();
            // The server may have gone already.
            let _ = pass(&client, data, &[]);
        }
        Err(Errno::PIPE | Errno::CONNRESET) => {
            SockRef::from(&socket).set_linger(None).unwrap();
        }
        Err(error) => panic!("{error}"),
    }
    other_end
}

/// Attacks a sample in each way of running requests, on both kernels.
fn attacked(sample: &str, scheme: &str, bystander: (&[u8], &[u8]), attack: impl Fn(&Path, &Path)) {
    for mode in MODES {
        for old in [false, true] {
            // A child for a request can take no descriptor, so the kernel closes what was
            // passed to it there: it holds up its own client, until the parent ends it.
            if old && scheme == "unix" && mode.contains(&"forking") {
                continue;
            }
            let directory = tempfile::tempdir().unwrap();
            let mut command = host();
            if old {
                let program = command.get_program().to_owned();
                command = Command::new("python3");
                command.arg(build::root().join("tests/all/old_kernel.py"));
                command.arg("passrights").arg(program);
                command.env("XDG_CACHE_HOME", build::root().join("target/tests-cache"));
            }
            command.arg("serve").arg(build::guest("rust", sample).unwrap());
            command.args(["--bind", &place(scheme, &directory)]).args(mode);
            let server = Server::start(&mut command, 1).unwrap();
            let (question, answer) = bystander;
            let bystander = Bystander::new(&server.endpoints()[0], question, answer).unwrap();
            let mut scene = Scene { server, bystander, directory };
            let (path, client) = (scene.path("server"), scene.path("client"));
            scene.attacked(|_, _| attack(&path, &client));
            scene.logged_nothing();
        }
    }
}

#[test]
fn beside_a_datagram() {
    attacked("dupper", "unixgram", (b"bystander", b"BYSTANDER"), |server, path| {
        let _ = fs::remove_file(path);
        let client = UnixDatagram::bind(path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.connect(server).unwrap();
        let _passed: Vec<_> = (0..5).map(|_| pass_lingering(&client, b"a")).collect();
        for _ in 0..5 {
            assert_eq!(client.recv(&mut [0; 2]).unwrap(), 1);
        }
    });
}

#[test]
fn beside_data_that_is_received() {
    attacked("echo", "unix", (b"bystander", b"bystander"), |server, _| {
        let mut client = UnixStream::connect(server).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..5 {
            let _passed = pass_lingering(&client, b"!");
            client.read_exact(&mut [0]).unwrap();
        }
    });
}

#[test]
fn beside_data_that_is_not_received() {
    attacked("silent", "unix", (b"", b""), |server, _| {
        for _ in 0..5 {
            let client = UnixStream::connect(server).unwrap();
            let _passed = pass_lingering(&client, b"!");
        }
    });
}
