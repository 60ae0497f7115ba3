//! Hostile clients of Unix streams.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::pipe;
use socket2::{Domain, SockAddr, Socket, Type};
use socketserver_tests::process::PATIENCE;

use super::{Scene, assert_reported, attack, fixture, logged};
use crate::fixture::{FIXTURE, Fixture};

/// Sends `data` with descriptors beside it, from a connected socket.
///
/// Errors: the kernel refuses to pass descriptors to the server (`EPERM`), or the server
/// has closed the connection.
pub(super) fn pass(
    socket: impl AsFd,
    data: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> rustix::io::Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); 4096];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(beside.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    sendmsg(socket, &[IoSlice::new(data)], &mut beside, SendFlags::NOSIGNAL)
}

/// Sends `data` with descriptors beside it, or without them where the kernel refuses to
/// pass them.
pub(super) fn send_with_descriptors(
    socket: impl AsFd,
    data: &[u8],
    descriptors: &[BorrowedFd<'_>],
) {
    if pass(&socket, data, descriptors) == Err(Errno::PERM) {
        pass(socket, data, &[]).unwrap();
    }
}

/// The end of a pipe to read from, whose other end the server was given, unless it
/// dropped it: then there is an end to read.
pub(super) fn nobody_holds(read: OwnedFd) {
    let mut rest = Vec::new();
    File::from(read).read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

#[test]
fn descriptors_beside_the_data() {
    let mut scene = Scene::sample("echo", "unix", &[], b"bystander", b"bystander");
    let path = scene.path("server");
    scene.attacked(|_, _| {
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let (read, write) = pipe().unwrap();
        let many = [write.as_fd(); 200];
        for _ in 0..20 {
            send_with_descriptors(&client, b"!", &many);
            client.read_exact(&mut [0]).unwrap();
        }
        // The request is still there; what was passed is not.
        drop(write);
        nobody_holds(read);
    });
    scene.logged_nothing();
}

#[test]
fn descriptors_that_nobody_reads() {
    let mut scene = Scene::sample("silent", "unix", &[], b"", b"");
    let path = scene.path("server");
    scene.attacked(|_, _| {
        let (read, write) = pipe().unwrap();
        for _ in 0..20 {
            let client = UnixStream::connect(&path).unwrap();
            // It may be gone already.
            let _ = pass(&client, b"!", &[write.as_fd()]);
        }
        drop(write);
        nobody_holds(read);
    });
    scene.logged_nothing();
}

/// A connection whose end of it has this name.
fn named(name: &SockAddr, server: &Path) -> UnixStream {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(name).unwrap();
    socket.connect(&SockAddr::unix(server).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    OwnedFd::from(socket).into()
}

const FAILS: Fixture<'static> = Fixture { handle: "(return (call $failed))", ..FIXTURE };

#[test]
fn a_path_of_terminal_escapes_and_no_text() {
    let (mut hostile, bystander, directory) = fixture(FAILS, "unix", &[]);
    let server = directory.path().join("server");
    attack(&mut hostile.server, &bystander, |process, number| {
        let name = [
            b"\x1b[2J\r\nERROR \xff\xc2\x9b\xe2\x80\xae".as_slice(),
            &[b'0' + u8::try_from(number).unwrap()],
        ]
        .concat();
        let path = directory.path().join(std::ffi::OsStr::from_bytes(&name));
        let mut client = named(&SockAddr::unix(&path).unwrap(), &server);
        client.write_all(b"x").unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        let line = logged(process, &format!("{number}\": \"handle failed"));
        assert_reported(&line, "error", "guest");
        assert!(line.contains(r"[2J") && line.contains("ERROR"), "{line}");
    });
    let log = hostile.server.log();
    let dangerous =
        |line: &String| line.contains(|sign: char| sign.is_control() || sign == '\u{202e}');
    assert!(!log.iter().any(dangerous), "{log:#?}");
}

#[test]
fn an_abstract_name_of_terminal_escapes_and_nul() {
    let (mut hostile, bystander, directory) = fixture(FAILS, "unix", &[]);
    let server = directory.path().join("server");
    let of_this = directory.path().display().to_string();
    attack(&mut hostile.server, &bystander, |process, number| {
        let name = format!("\0{of_this}\0\x1b[2J\n\u{9b}{number}");
        let mut client = named(&SockAddr::unix(&name).unwrap(), &server);
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
