//! Hostile senders of Unix datagrams. The answer goes to a name that the sender
//! chose, and what has that name may be anything by then.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use rustix::pipe::pipe;
use socketserver_tests::process::{PATIENCE, Server};

use super::unix::{nobody_holds, send_with_descriptors};
use super::{Scene, assert_reported, attack, fixture, is_idle, logged};
use crate::fixture::{DATAGRAM, Fixture};

/// Sends the reply, and fails if it cannot be sent.
const REPLIES: Fixture<'static> = Fixture {
    handle: "(call $reply (i32.const 100) (i32.const 2))
        (if (i32.load8_u (i32.const 32)) (then (return (call $failed))))",
    ..DATAGRAM
};

/// Sends one datagram from a socket of that name, and puts something else there
/// before the server sees it. Then that sender is to blame, for `reason`.
fn is_to_blame(reason: &str, put_there: impl Fn(&Path)) {
    let (mut served, bystander, directory) = fixture(REPLIES, "unixgram", &[]);
    attack(&mut served.server, &bystander, |server, number| {
        let path = directory.path().join(format!("client-{number}"));
        let client = UnixDatagram::bind(&path).unwrap();
        client.connect(directory.path().join("server")).unwrap();
        server.signal("STOP").unwrap();
        client.send(b"x").unwrap();
        fs::remove_file(&path).unwrap();
        put_there(&path);
        server.signal("CONT").unwrap();
        let line = logged(server, &format!("client-{number}\": \"handle failed"));
        assert_reported(&line, reason, "client");
        assert!(line.contains("WARN"), "{line}");
    });
}

#[test]
fn whose_name_is_gone() {
    is_to_blame("connection-lost", |_| {});
}

#[test]
fn whose_name_is_a_file_now() {
    is_to_blame("connection-lost", |path| fs::write(path, b"").unwrap());
}

#[test]
fn whose_name_is_a_directory_now() {
    is_to_blame("connection-lost", |path| fs::create_dir(path).unwrap());
}

#[test]
fn whose_name_is_a_stream_socket_now() {
    // Nobody takes connections on it, but the name is there.
    is_to_blame("connection-lost", |path| drop(UnixListener::bind(path).unwrap()));
}

#[test]
fn whose_name_leads_to_itself_now() {
    is_to_blame("connection-lost", |path| symlink(path, path).unwrap());
}

#[test]
fn whose_name_leads_through_a_file_now() {
    is_to_blame("connection-lost", |path| {
        let file = path.with_extension("file");
        fs::write(&file, b"").unwrap();
        symlink(file.join("socket"), path).unwrap();
    });
}

#[test]
fn whose_name_leads_to_one_that_is_too_long_now() {
    is_to_blame("no-address", |path| symlink("a".repeat(300), path).unwrap());
}

#[test]
fn without_a_name() {
    let (mut served, bystander, directory) = fixture(REPLIES, "unixgram", &[]);
    attack(&mut served.server, &bystander, |server, _| {
        let before = server.log().len();
        let client = UnixDatagram::unbound().unwrap();
        client.send_to(b"x", directory.path().join("server")).unwrap();
        let line = server.wait_for_log("from (unnamed)").unwrap();
        assert_reported(&line, "no-address", "client");
        assert!(server.log().len() > before);
    });
}

/// A name that leads to somebody else's socket is that somebody's, for all that a
/// server can tell: CPython's would send there too. The others are not concerned.
#[test]
fn whose_name_leads_to_somebody_else_now() {
    let mut scene = Scene::sample("dupper", "unixgram", &[], b"bystander", b"BYSTANDER");
    let victim = UnixDatagram::bind(scene.path("victim")).unwrap();
    victim.set_read_timeout(Some(PATIENCE)).unwrap();
    let (path, server, target) = (scene.path("client"), scene.path("server"), scene.path("victim"));
    scene.attacked(|_, _| {
        let client = named_anew(&path, &target);
        client.send_to(b"hello", &server).unwrap();
        let mut got = [0; 10];
        // One answer, and no more than was asked for.
        assert_eq!(victim.recv(&mut got).unwrap(), 5);
        assert_eq!(&got[..5], b"HELLO");
    });
    scene.logged_nothing();
}

/// A socket of that name, which leads to `target` from now on.
fn named_anew(path: &Path, target: &Path) -> UnixDatagram {
    let _ = fs::remove_file(path);
    let client = UnixDatagram::bind(path).unwrap();
    fs::remove_file(path).unwrap();
    symlink(target, path).unwrap();
    client
}

/// The answer would be a question, and so on for ever.
#[test]
fn whose_name_leads_to_the_server_itself() {
    let mut scene = Scene::sample("dupper", "unixgram", &[], b"bystander", b"BYSTANDER");
    let (path, server) = (scene.path("client"), scene.path("server"));
    scene.attacked(|_, _| {
        let client = named_anew(&path, &server);
        for _ in 0..4 {
            client.send_to(b"again", &server).unwrap();
        }
    });
    is_idle(scene.server.pid());
    scene.logged_nothing();
}

/// The queue of its socket is full, so each answer waits, for so long at most.
#[test]
fn who_takes_no_answer() {
    let options = ["--idle-timeout", "600ms"];
    let (mut served, bystander, directory) = fixture(REPLIES, "unixgram", &options);
    attack(&mut served.server, &bystander, |server: &mut Server, number| {
        let path = directory.path().join(format!("client-{number}"));
        // One that is connected has a queue without end.
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
fn with_descriptors() {
    let mut scene = Scene::sample("dupper", "unixgram", &[], b"bystander", b"BYSTANDER");
    let (path, server) = (scene.path("client"), scene.path("server"));
    scene.attacked(|_, _| {
        let _ = fs::remove_file(&path);
        let client = UnixDatagram::bind(&path).unwrap();
        client.connect(&server).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let (read, write) = pipe().unwrap();
        for _ in 0..20 {
            send_with_descriptors(&client, b"a", &[write.as_fd(); 100]);
            assert_eq!(client.recv(&mut [0; 2]).unwrap(), 1);
        }
        drop(write);
        nobody_holds(read);
    });
    scene.logged_nothing();
}
