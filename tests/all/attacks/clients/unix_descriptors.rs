//! Clients of Unix sockets that pass a descriptor whose close takes long: a TCP socket with
//! unsent data and `SO_LINGER`. The kernel closes it in the thread that receives or drops the
//! message.
//!
//! Each attack runs on this kernel, and as on a kernel before Linux 6.16, which cannot refuse
//! to pass descriptors.

use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;
use std::{fs, thread};

use rustix::io::Errno;
use socket2::SockRef;
use socketserver_tests::build;
use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::{Server, TIMEOUT};

use super::passing::{lingering_socket, pass_descriptors};
use super::{Scene, endpoint};
use crate::fixture::{MODES, host};

/// Sends `data`, passes a lingering socket with it, and closes the sender's copy of that
/// socket. If the kernel refuses to pass the socket, only the data is sent.
fn pass_lingering_socket(client: impl AsFd, data: &[u8]) -> TcpStream {
    let (socket, other_end) = lingering_socket(2 * TIMEOUT);
    match pass_descriptors(&client, data, &[socket.as_fd()]) {
        // If the server has closed its copy already, this is the last close, which waits.
        Ok(_) => drop(thread::spawn(|| drop(socket))),
        Err(Errno::PERM) => {
            SockRef::from(&socket).set_linger(None).unwrap();
            // The server may have closed the connection already.
            let _ = pass_descriptors(&client, data, &[]);
        }
        Err(Errno::PIPE | Errno::CONNRESET) => {
            SockRef::from(&socket).set_linger(None).unwrap();
        }
        Err(error) => panic!("{error}"),
    }
    other_end
}

/// Runs `attack` against a sample in each mode, on both kernels. `attack` is given the paths
/// of the server's socket and of a client's.
fn attack_in_each_mode(
    sample: &str,
    scheme: &str,
    bystander: (&[u8], &[u8]),
    attack: impl Fn(&Path, &Path),
) {
    for mode in MODES {
        for old in [false, true] {
            // The child of a request can receive no descriptor, so that the kernel closes the
            // socket in that child. The child then holds up only its own client, until the
            // parent ends it.
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
            command.args(["--bind", &endpoint(scheme, &directory)]).args(mode);
            let server = Server::start(&mut command, 1).unwrap();
            let (question, answer) = bystander;
            let bystander = Bystander::new(&server.endpoints()[0], question, answer).unwrap();
            let mut scene = Scene { server, bystander, directory };
            let (path, client) = (scene.path("server"), scene.path("client"));
            scene.attack(|_, _| attack(&path, &client));
            scene.assert_nothing_logged();
        }
    }
}

#[test]
fn a_lingering_socket_with_a_datagram() {
    attack_in_each_mode("dupper", "unixgram", (b"bystander", b"BYSTANDER"), |server, path| {
        let _ = fs::remove_file(path);
        let client = UnixDatagram::bind(path).unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        client.connect(server).unwrap();
        let _passed: Vec<_> = (0..5).map(|_| pass_lingering_socket(&client, b"a")).collect();
        for _ in 0..5 {
            assert_eq!(client.recv(&mut [0; 2]).unwrap(), 1);
        }
    });
}

#[test]
fn a_lingering_socket_with_data_that_the_handler_receives() {
    attack_in_each_mode("echo", "unix", (b"bystander", b"bystander"), |server, _| {
        let mut client = UnixStream::connect(server).unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        for _ in 0..5 {
            let _passed = pass_lingering_socket(&client, b"!");
            client.read_exact(&mut [0]).unwrap();
        }
    });
}

#[test]
fn a_lingering_socket_with_data_that_the_handler_does_not_receive() {
    attack_in_each_mode("silent", "unix", (b"", b""), |server, _| {
        for _ in 0..5 {
            let client = UnixStream::connect(server).unwrap();
            let _passed = pass_lingering_socket(&client, b"!");
        }
    });
}
