//! The files of Unix sockets: stale files, permissions and owners.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{in_child, unique_name};
use rustix::fs::{Gid, Mode, Uid};
use rustix::process::{geteuid, umask};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::{
    Address, BindHint, BuildError, Endpoint, Request, Server, ServerBuilder, SocketType,
    UnixAddress,
};
use tempfile::TempDir;

const TYPES: [SocketType; 2] = [SocketType::Stream, SocketType::Dgram];

/// A user id that is neither root nor a user of this machine.
const OTHER_USER: u32 = 65_534;

/// Returns a server on `path` that answers with one byte.
fn server_at(path: &Path, socket_type: SocketType) -> ServerBuilder {
    let handler = |request: &Request, client: &Address, _: &_| match request.socket_type() {
        SocketType::Stream => request.sendall(b"!"),
        SocketType::Dgram => request.sendto(b"!", client).map(drop),
    };
    let address = UnixAddress::Pathname(path.to_owned()).into();
    Server::builder(handler).bind(Endpoint::new(socket_type, address))
}

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    (directory, path)
}

fn bind_error(built: Result<Server, BuildError>) -> ErrorKind {
    match built.err() {
        Some(BuildError::Bind { error, .. }) => error.kind(),
        other => panic!("{other:?}"),
    }
}

/// Returns the user, the group and the permissions of a file.
fn owner_and_mode(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.permissions().mode() & 0o7777)
}

fn mode(path: &Path) -> u32 {
    owner_and_mode(path).2
}

/// Returns true if a client can connect to the server.
fn answers(path: &Path, socket_type: SocketType) -> io::Result<()> {
    match socket_type {
        SocketType::Stream => UnixStream::connect(path).map(drop),
        SocketType::Dgram => UnixDatagram::unbound()?.connect(path),
    }
}

/// Makes the file of a server that has ended.
fn leave_behind(path: &Path, socket_type: SocketType) {
    server_at(path, socket_type).build().unwrap().server_close();
    assert!(fs::symlink_metadata(path).unwrap().file_type().is_socket());
}

#[test]
fn b10_by_default_the_server_does_not_remove_a_file() {
    for socket_type in TYPES {
        let (_directory, path) = directory();
        leave_behind(&path, socket_type);
        let before = fs::symlink_metadata(&path).unwrap().ino();
        for reuse in [false, true] {
            let again = server_at(&path, socket_type).allow_reuse_address(reuse).build();
            assert_eq!(bind_error(again), ErrorKind::AddrInUse);
        }
        assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before);
    }
}

#[test]
fn a_stale_file_of_either_socket_type_is_replaced() {
    for dead in TYPES {
        for socket_type in TYPES {
            let (_directory, path) = directory();
            leave_behind(&path, dead);
            let server = server_at(&path, socket_type).remove_stale_socket(true).build().unwrap();
            answers(&path, socket_type).unwrap();
            server.server_close();
            assert!(path.exists(), "closing removes nothing");
        }
    }
}

#[test]
fn removal_has_no_effect_on_a_socket_without_a_file() {
    let (_directory, path) = directory();
    let _server = server_at(&path, SocketType::Stream).remove_stale_socket(true).build().unwrap();
    answers(&path, SocketType::Stream).unwrap();
}

#[test]
fn the_file_of_an_open_socket_of_either_type_is_kept() {
    for live in TYPES {
        for socket_type in TYPES {
            let (_directory, path) = directory();
            let other = server_at(&path, live).build().unwrap();
            let again = server_at(&path, socket_type).remove_stale_socket(true).build();
            assert_eq!(bind_error(again), ErrorKind::AddrInUse);
            answers(&path, live).unwrap();
            drop(other);
        }
    }
}

#[test]
fn the_file_of_a_socket_with_a_full_backlog_is_kept() {
    let (_directory, path) = directory();
    let server = server_at(&path, SocketType::Stream).request_queue_size(0).build().unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let another = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    another.set_nonblocking(true).unwrap();
    let full = another.connect(&SockAddr::unix(&path).unwrap()).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    for socket_type in TYPES {
        let again = server_at(&path, socket_type).remove_stale_socket(true).build();
        assert_eq!(bind_error(again), ErrorKind::AddrInUse);
    }
    server.handle_request().unwrap();
    answers(&path, SocketType::Stream).unwrap();
}

#[test]
fn the_file_of_a_connected_datagram_socket_is_kept() {
    let (directory, path) = directory();
    let peer = directory.path().join("peer");
    let _peer = UnixDatagram::bind(&peer).unwrap();
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.connect(&peer).unwrap();
    let again = server_at(&path, SocketType::Dgram).remove_stale_socket(true).build();
    assert_eq!(bind_error(again), ErrorKind::AddrInUse);
    assert!(path.exists());
}

/// This is the state of a server for a moment before it listens.
#[test]
fn the_file_of_a_socket_that_does_not_listen_yet_is_kept() {
    for kind in [Type::STREAM, Type::SEQPACKET, Type::DGRAM] {
        for socket_type in TYPES {
            let (_directory, path) = directory();
            let other = Socket::new(Domain::UNIX, kind, None).unwrap();
            other.bind(&SockAddr::unix(&path).unwrap()).unwrap();
            let again = server_at(&path, socket_type).remove_stale_socket(true).build();
            assert_eq!(bind_error(again), ErrorKind::AddrInUse);
            assert!(path.exists(), "{kind:?} {socket_type:?}");
        }
    }
}

/// Each server that was made keeps the path until it is closed, even if many start at once.
#[test]
fn of_servers_that_start_at_once_one_gets_the_path() {
    const THREADS: usize = 4;
    const TURNS: usize = 300;
    let (directory, path) = directory();
    let begun = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..TURNS {
                    let builder = server_at(&path, SocketType::Stream).remove_stale_socket(true);
                    let server = match builder.build() {
                        Ok(server) => server,
                        Err(error) => {
                            assert_eq!(bind_error(Err(error)), ErrorKind::AddrInUse);
                            continue;
                        }
                    };
                    begun.fetch_add(1, Ordering::Relaxed);
                    let mut client = UnixStream::connect(&path).unwrap();
                    // Only this server can have accepted the client: the others do not
                    // serve.
                    client.set_read_timeout(Some(common::WAIT)).unwrap();
                    server.handle_request().unwrap();
                    io::Read::read_exact(&mut client, &mut [0; 1]).unwrap();
                    server.server_close();
                }
            });
        }
    });
    assert!(begun.load(Ordering::Relaxed) > THREADS, "too few have begun");
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn an_address_in_use_tells_a_stale_file_from_a_server() {
    let hint = |built: Result<Server, BuildError>| match built.err() {
        Some(BuildError::Bind { hint, error, .. }) => (hint, error.kind()),
        other => panic!("{other:?}"),
    };
    for socket_type in TYPES {
        let (_directory, path) = directory();
        leave_behind(&path, socket_type);
        let (stale, kind) = hint(server_at(&path, socket_type).build());
        assert_eq!((stale, kind), (Some(BindHint::StaleSocket), ErrorKind::AddrInUse));
        let text = BindHint::StaleSocket.to_string();
        assert!(text.contains("no server"), "{text}");
        let _server = server_at(&path, socket_type).remove_stale_socket(true).build().unwrap();
        assert_eq!(hint(server_at(&path, socket_type).build()).0, None);
        assert_eq!(hint(server_at(&path, socket_type).remove_stale_socket(true).build()).0, None);
    }
    let (directory, _) = directory();
    let missing = directory.path().join("missing/socket");
    assert_eq!(hint(server_at(&missing, SocketType::Stream).build()).0, None);
}

#[test]
fn a_file_that_is_not_a_socket_is_kept() {
    let (directory, path) = directory();
    let dead = directory.path().join("dead");
    leave_behind(&dead, SocketType::Stream);
    let missing = directory.path().join("missing");
    let make: [&dyn Fn(); 4] = [
        &|| fs::write(&path, "precious").unwrap(),
        &|| fs::create_dir(&path).unwrap(),
        &|| symlink(&dead, &path).unwrap(),
        &|| symlink(&missing, &path).unwrap(),
    ];
    for make in make {
        make();
        let before = fs::symlink_metadata(&path).unwrap();
        for socket_type in TYPES {
            let built =
                server_at(&path, socket_type).remove_stale_socket(true).socket_mode(0o600).build();
            assert_eq!(bind_error(built), ErrorKind::AddrInUse);
        }
        let after = fs::symlink_metadata(&path).unwrap();
        assert_eq!(
            (after.ino(), after.len(), after.mode()),
            (before.ino(), before.len(), before.mode())
        );
        assert!(dead.exists() && !missing.exists());
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    }
}

#[test]
fn b10_by_default_the_umask_decides_which_users_may_connect() {
    in_child("b10_by_default_the_umask_decides_which_users_may_connect", || {
        for (mask, expected) in [(0o022, 0o755), (0o077, 0o700), (0, 0o777)] {
            umask(Mode::from_raw_mode(mask));
            for socket_type in TYPES {
                let (_directory, path) = directory();
                let _server = server_at(&path, socket_type).build().unwrap();
                assert_eq!(mode(&path), expected);
            }
        }
    });
}

#[test]
fn the_mode_does_not_depend_on_the_umask() {
    in_child("the_mode_does_not_depend_on_the_umask", || {
        for mask in [0o022, 0o777, 0] {
            for asked in [0o600, 0o660, 0o777, 0o000] {
                for socket_type in TYPES {
                    umask(Mode::from_raw_mode(0o022));
                    let (_directory, path) = directory();
                    umask(Mode::from_raw_mode(mask));
                    let server = server_at(&path, socket_type).socket_mode(asked).build().unwrap();
                    assert_eq!(mode(&path), asked);
                    // The user who made the file has no effect either.
                    if asked & 0o200 != 0 {
                        answers(&path, socket_type).unwrap();
                    }
                    drop(server);
                }
            }
        }
    });
}

#[test]
fn a_new_socket_does_not_inherit_the_mode_of_the_stale_file() {
    let (_directory, path) = directory();
    leave_behind(&path, SocketType::Stream);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let builder = server_at(&path, SocketType::Stream).remove_stale_socket(true).socket_mode(0o600);
    let _server = builder.build().unwrap();
    assert_eq!(mode(&path), 0o600);
}

/// The kernel copies the permissions of the file from the socket, and does not change them
/// later.
#[test]
fn clients_cannot_connect_before_the_mode_is_set() {
    let (_directory, path) = directory();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                seen.extend(fs::symlink_metadata(&path).map(|found| found.mode() & 0o777));
                seen.dedup();
            }
            seen
        });
        let before = (0..200).map(|_| {
            let server = server_at(&path, SocketType::Stream).socket_mode(0o606).build().unwrap();
            fs::remove_file(&path).unwrap();
            rustix::fs::fstat(server.socket().unwrap()).unwrap().st_mode & 0o777
        });
        let mut before: Vec<u32> = before.collect();
        done.store(true, Ordering::Relaxed);
        let mut seen = watching.join().unwrap();
        for modes in [&mut before, &mut seen] {
            modes.sort_unstable();
            modes.dedup();
        }
        assert_eq!(before, [0], "the file was made with this");
        assert!(seen.iter().all(|mode| [0, 0o606].contains(mode)), "{seen:?}");
    });
}

fn is_root() -> bool {
    geteuid().is_root()
}

/// Runs `f` in a thread without root privileges.
fn as_nobody<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if is_root() {
                set_thread_groups(&[]).unwrap();
                set_thread_gid(Gid::from_raw(OTHER_USER)).unwrap();
                set_thread_uid(Uid::from_raw(OTHER_USER)).unwrap();
            }
            f()
        });
        thread.join().unwrap()
    })
}

/// Returns a directory in which every user may make files.
fn shared_directory() -> (TempDir, PathBuf) {
    let (directory, path) = directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    (directory, path)
}

#[test]
fn the_mode_decides_which_users_may_connect() {
    in_child("the_mode_decides_which_users_may_connect", || {
        for (mode, may_connect) in [(0o600, false), (0o660, false), (0o606, true)] {
            for socket_type in TYPES {
                let (_directory, path) = shared_directory();
                let _server = server_at(&path, socket_type).socket_mode(mode).build().unwrap();
                answers(&path, socket_type).unwrap();
                // Without root the thread cannot change its user.
                if is_root() {
                    let connected = as_nobody(|| answers(&path, socket_type));
                    let denied = connected.map_err(|error| error.kind());
                    let expected =
                        if may_connect { Ok(()) } else { Err(ErrorKind::PermissionDenied) };
                    assert_eq!(denied, expected, "{mode:o}");
                }
            }
        }
    });
}

#[test]
fn the_file_is_given_to_its_owner() {
    in_child("the_file_is_given_to_its_owner", || {
        umask(Mode::from_raw_mode(0o022));
        let (_directory, path) = directory();
        let builder = || server_at(&path, SocketType::Stream).remove_stale_socket(true);
        drop(builder().build().unwrap());
        let (user, group, mode) = owner_and_mode(&path);
        let cases = [
            (Some(user), Some(group), None, (user, group, mode)),
            (Some(user), None, Some(0o600), (user, group, 0o600)),
            (Some(OTHER_USER), Some(1234), None, (OTHER_USER, 1234, mode)),
            (None, Some(1234), None, (user, 1234, mode)),
            (Some(OTHER_USER), None, Some(0o460), (OTHER_USER, group, 0o460)),
        ];
        // Only root may give files away.
        let count = if is_root() { cases.len() } else { 2 };
        for (user, group, asked, expected) in cases.into_iter().take(count) {
            let builder = builder().socket_owner(user, group);
            let builder = match asked {
                Some(mode) => builder.socket_mode(mode),
                None => builder,
            };
            let _server = builder.build().unwrap();
            assert_eq!(owner_and_mode(&path), expected);
        }
    });
}

#[test]
fn a_file_that_cannot_be_given_away_is_an_error_and_is_removed() {
    in_child("a_file_that_cannot_be_given_away_is_an_error_and_is_removed", || {
        for socket_type in TYPES {
            let (_directory, path) = shared_directory();
            as_nobody(|| {
                let built = server_at(&path, socket_type).socket_owner(Some(1), None).build();
                let Err(error) = built else { panic!("it was given away") };
                let text = error.to_string();
                assert!(text.contains(&path.display().to_string()), "{text}");
                let why = std::error::Error::source(&error).unwrap().to_string();
                assert!(why.contains("not permitted"), "{text}: {why}");
                assert_eq!(bind_error(Err(error)), ErrorKind::PermissionDenied);
                assert!(!path.exists());
                // Changes that need no privileges work without root.
                let _server = server_at(&path, socket_type).socket_mode(0o640).build().unwrap();
                assert_eq!(mode(&path), 0o640);
                answers(&path, socket_type).unwrap();
            });
        }
    });
}

#[test]
fn the_owner_has_no_effect_on_a_socket_without_a_file() {
    for endpoint in [format!("unix://@{}", unique_name()), "tcp://127.0.0.1:0".to_owned()] {
        let server = Server::builder(|request: &Request, _: &Address, _: &_| request.sendall(b"!"))
            .bind(endpoint.parse().unwrap())
            .remove_stale_socket(true)
            .socket_mode(0o600)
            .socket_owner(Some(OTHER_USER), Some(OTHER_USER));
        drop(server.build().unwrap());
    }
}

#[test]
fn b02_a_failed_bind_of_a_later_address_leaves_the_file_of_an_earlier_one() {
    let (directory, path) = directory();
    let taken = directory.path().join("taken");
    let _taken = UnixListener::bind(&taken).unwrap();
    let address = UnixAddress::Pathname(taken.clone());
    let built = server_at(&path, SocketType::Stream).bind(Endpoint::unix(address)).build();
    assert_eq!(bind_error(built), ErrorKind::AddrInUse);
    assert_eq!(
        answers(&path, SocketType::Stream).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    answers(&taken, SocketType::Stream).unwrap();
}
