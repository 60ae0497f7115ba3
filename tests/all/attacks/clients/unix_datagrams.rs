//! Hostile senders of Unix datagrams. The answer goes to a name that the sender chose, and
//! the sender can replace the file of that name meanwhile.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use rustix::pipe::pipe;
use socketserver_tests::process::{Server, TIMEOUT};

use super::unix::{try_pass_descriptors, wait_until_dropped};
use super::{Scene, assert_reported, attack, in_modes, logged, serve_fixture, wait_until_idle};
use crate::fixture::{DATAGRAM, Fixture};

/// A handler that sends a reply, and fails if it cannot send it.
const REPLIES: Fixture<'static> = Fixture {
    handle: "(call $reply (i32.const 100) (i32.const 2))
        (if (i32.load8_u (i32.const 32)) (then (return (call $failed))))",
    ..DATAGRAM
};

/// Sends one datagram from a bound socket, and has `replace` put another file in the place of
/// the socket before the server receives the datagram. Checks that the sender is blamed, for
/// `reason`.
fn check_blamed(reason: &str, replace: impl Fn(&Path)) {
    let (mut served, bystander, directory) = serve_fixture(REPLIES, "unixgram", &[]);
    attack(&mut served.server, &bystander, |server, number| {
        let path = directory.path().join(format!("client-{number}"));
        let client = UnixDatagram::bind(&path).unwrap();
        client.connect(directory.path().join("server")).unwrap();
        server.pause().unwrap();
        client.send(b"x").unwrap();
        fs::remove_file(&path).unwrap();
        replace(&path);
        server.signal("CONT").unwrap();
        let line = logged(server, &format!("client-{number}\": \"handle failed"));
        assert_reported(&line, reason, "client");
        assert!(line.contains("WARN"), "{line}");
    });
}

#[test]
fn a_sender_whose_name_is_gone() {
    check_blamed("connection-lost", |_| {});
}

#[test]
fn a_sender_whose_name_is_a_file_now() {
    check_blamed("connection-lost", |path| fs::write(path, b"").unwrap());
}

#[test]
fn a_sender_whose_name_is_a_directory_now() {
    check_blamed("connection-lost", |path| fs::create_dir(path).unwrap());
}

#[test]
fn a_sender_whose_name_is_a_stream_socket_now() {
    // The listener is closed, but its name stays.
    check_blamed("connection-lost", |path| drop(UnixListener::bind(path).unwrap()));
}

#[test]
fn a_sender_whose_name_is_a_link_to_itself_now() {
    check_blamed("connection-lost", |path| symlink(path, path).unwrap());
}

#[test]
fn a_sender_whose_name_is_a_link_through_a_file_now() {
    check_blamed("connection-lost", |path| {
        let file = path.with_extension("file");
        fs::write(&file, b"").unwrap();
        symlink(file.join("socket"), path).unwrap();
    });
}

#[test]
fn a_sender_whose_name_is_a_link_to_a_name_that_is_too_long_now() {
    check_blamed("no-address", |path| symlink("a".repeat(300), path).unwrap());
}

#[test]
fn a_sender_without_a_name() {
    let (mut served, bystander, directory) = serve_fixture(REPLIES, "unixgram", &[]);
    attack(&mut served.server, &bystander, |server, _| {
        let before = server.log().len();
        let client = UnixDatagram::unbound().unwrap();
        client.send_to(b"x", directory.path().join("server")).unwrap();
        let line = server.wait_for_log("from (unnamed)").unwrap();
        assert_reported(&line, "no-address", "client");
        assert!(server.log().len() > before);
    });
}

/// The server cannot know that the name is a link to the socket of another process, and
/// answers there, as CPython would. Other clients are not affected.
#[test]
fn a_sender_whose_name_is_a_link_to_another_client_now() {
    in_modes(|mode| {
        let mut scene =
            Scene::sample(mode, "dupper", "unixgram", &[], (b"bystander", b"BYSTANDER"));
        let victim = UnixDatagram::bind(scene.path("victim")).unwrap();
        victim.set_read_timeout(Some(TIMEOUT)).unwrap();
        let (path, server, target) =
            (scene.path("client"), scene.path("server"), scene.path("victim"));
        scene.attack(|_, _| {
            let client = bind_and_link(&path, &target);
            client.send_to(b"hello", &server).unwrap();
            let mut got = [0; 10];
            // The victim receives one answer to each question, and no more.
            assert_eq!(victim.recv(&mut got).unwrap(), 5);
            assert_eq!(&got[..5], b"HELLO");
        });
        scene.assert_nothing_logged();
    });
}

/// Binds a socket to `path`, and then makes `path` a link to `target`.
fn bind_and_link(path: &Path, target: &Path) -> UnixDatagram {
    let _ = fs::remove_file(path);
    let client = UnixDatagram::bind(path).unwrap();
    fs::remove_file(path).unwrap();
    symlink(target, path).unwrap();
    client
}

/// The server would answer itself for ever.
#[test]
fn a_sender_whose_name_is_a_link_to_the_server_now() {
    in_modes(|mode| {
        let mut scene =
            Scene::sample(mode, "dupper", "unixgram", &[], (b"bystander", b"BYSTANDER"));
        let (path, server) = (scene.path("client"), scene.path("server"));
        scene.attack(|_, _| {
            let client = bind_and_link(&path, &server);
            for _ in 0..4 {
                client.send_to(b"again", &server).unwrap();
            }
        });
        wait_until_idle(scene.server.pid());
        scene.assert_nothing_logged();
    });
}

/// The queue of the sender's socket is full, so that each answer waits until the idle timeout.
#[test]
fn a_sender_that_receives_no_answer() {
    let options = ["--idle-timeout", "600ms"];
    let (mut served, bystander, directory) = serve_fixture(REPLIES, "unixgram", &options);
    attack(&mut served.server, &bystander, |server: &mut Server, number| {
        let path = directory.path().join(format!("client-{number}"));
        // The kernel does not bound the queue of a connected socket.
        let client = UnixDatagram::bind(path).unwrap();
        let to = directory.path().join("server");
        let queue: usize = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        for _ in 0..queue + 10 {
            client.send_to(b"x", &to).unwrap();
        }
        let line = logged(server, &format!("client-{number}\": \"handle was ended"));
        assert_reported(&line, "idle-timeout", "client");
    });
}

#[test]
fn a_sender_that_passes_descriptors() {
    in_modes(|mode| {
        let mut scene =
            Scene::sample(mode, "dupper", "unixgram", &[], (b"bystander", b"BYSTANDER"));
        let (path, server) = (scene.path("client"), scene.path("server"));
        scene.attack(|_, _| {
            let _ = fs::remove_file(&path);
            let client = UnixDatagram::bind(&path).unwrap();
            client.connect(&server).unwrap();
            client.set_read_timeout(Some(TIMEOUT)).unwrap();
            let (read, write) = pipe().unwrap();
            for _ in 0..20 {
                try_pass_descriptors(&client, b"a", &[write.as_fd(); 100]);
                assert_eq!(client.recv(&mut [0; 2]).unwrap(), 1);
            }
            drop(write);
            wait_until_dropped(read);
        });
        scene.assert_nothing_logged();
    });
}
