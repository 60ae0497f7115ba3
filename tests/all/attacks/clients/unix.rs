//! Hostile clients of Unix streams.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::Errno;
use rustix::pipe::pipe;
use socket2::{Domain, SockAddr, Socket, Type};
use socketserver_tests::process::TIMEOUT;

use super::passing::pass_descriptors;
use super::{Scene, assert_reported, attack, in_modes, logged, serve_fixture};
use crate::fixture::{FIXTURE, Fixture};

/// Sends `data` and passes `descriptors` with it, unless the kernel refuses to pass them.
pub(super) fn try_pass_descriptors(socket: impl AsFd, data: &[u8], descriptors: &[BorrowedFd<'_>]) {
    if pass_descriptors(&socket, data, descriptors) == Err(Errno::PERM) {
        pass_descriptors(socket, data, &[]).unwrap();
    }
}

/// Waits until no process holds the other end of a pipe, which a client passed to the server.
pub(super) fn wait_until_dropped(read: OwnedFd) {
    let mut rest = Vec::new();
    File::from(read).read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

#[test]
fn descriptors_with_data_that_the_handler_receives() {
    in_modes(|mode| {
        let mut scene = Scene::sample(mode, "echo", "unix", &[], (b"bystander", b"bystander"));
        let path = scene.path("server");
        scene.attack(|_, _| {
            let mut client = UnixStream::connect(&path).unwrap();
            client.set_read_timeout(Some(TIMEOUT)).unwrap();
            let (read, write) = pipe().unwrap();
            let many = [write.as_fd(); 200];
            for _ in 0..20 {
                try_pass_descriptors(&client, b"!", &many);
                client.read_exact(&mut [0]).unwrap();
            }
            // The request goes on, but the server has dropped the descriptors.
            drop(write);
            wait_until_dropped(read);
        });
        scene.assert_nothing_logged();
    });
}

#[test]
fn descriptors_with_data_that_the_handler_does_not_receive() {
    in_modes(|mode| {
        let mut scene = Scene::sample(mode, "silent", "unix", &[], (b"", b""));
        let path = scene.path("server");
        scene.attack(|_, _| {
            let (read, write) = pipe().unwrap();
            for _ in 0..20 {
                let client = UnixStream::connect(&path).unwrap();
                // The server may have closed the connection already.
                let _ = pass_descriptors(&client, b"!", &[write.as_fd()]);
            }
            drop(write);
            wait_until_dropped(read);
        });
        scene.assert_nothing_logged();
    });
}

/// Connects to `server` from a socket that is bound to `name`.
fn connect_from_name(name: &SockAddr, server: &Path) -> UnixStream {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(name).unwrap();
    socket.connect(&SockAddr::unix(server).unwrap()).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    OwnedFd::from(socket).into()
}

const FAILS: Fixture<'static> = Fixture { handle: "(return (call $failed))", ..FIXTURE };

#[test]
fn a_client_whose_path_has_terminal_escapes_and_invalid_utf_8() {
    let (mut hostile, bystander, directory) = serve_fixture(FAILS, "unix", &[]);
    let server = directory.path().join("server");
    attack(&mut hostile.server, &bystander, |process, number| {
        let name = [
            b"\x1b[2J\r\nERROR \xff\xc2\x9b\xe2\x80\xae".as_slice(),
            &[b'0' + u8::try_from(number).unwrap()],
        ]
        .concat();
        let path = directory.path().join(std::ffi::OsStr::from_bytes(&name));
        let mut client = connect_from_name(&SockAddr::unix(&path).unwrap(), &server);
        client.write_all(b"x").unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        let line = logged(process, &format!("{number}\": \"handle failed"));
        assert_reported(&line, "error", "guest");
        assert!(line.contains(r"[2J") && line.contains("ERROR"), "{line}");
    });
    let log = hostile.server.log();
    let is_dangerous =
        |line: &String| line.contains(|sign: char| sign.is_control() || sign == '\u{202e}');
    assert!(!log.iter().any(is_dangerous), "{log:#?}");
}

#[test]
fn a_client_whose_abstract_name_has_terminal_escapes_and_nul() {
    let (mut hostile, bystander, directory) = serve_fixture(FAILS, "unix", &[]);
    let server = directory.path().join("server");
    let unique = directory.path().display().to_string();
    attack(&mut hostile.server, &bystander, |process, number| {
        let name = format!("\0{unique}\0\x1b[2J\n\u{9b}{number}");
        let mut client = connect_from_name(&SockAddr::unix(&name).unwrap(), &server);
        client.write_all(b"x").unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        assert_reported(
            &logged(process, &format!("{number}\": \"handle failed")),
            "error",
            "guest",
        );
    });
    let log = hostile.server.log();
    assert!(!log.iter().any(|line| line.contains(char::is_control)), "{log:#?}");
}
