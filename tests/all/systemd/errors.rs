//! Sockets that cannot be served, and those that no option names.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use super::Service;

fn listener() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").unwrap().into()
}

fn fail(sockets: &[(&str, OwnedFd)], options: &[&str]) -> String {
    let (code, error) = Service::new(sockets, &[&["serve"], options].concat()).fail();
    assert_eq!(code, Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn each_mistake_is_an_error_that_names_the_socket() {
    let two = || [("web", listener()), ("admin", listener())];
    for (options, says) in [
        (
            &["--bind", "systemd://web"][..],
            "no --bind takes the socket `admin`: add --bind systemd://admin",
        ),
        (&[], "no --bind takes the socket `web`"),
        (
            &["--bind", "systemd://wep"],
            "--bind systemd://wep names no socket that is left: systemd has passed `web`, `admin`",
        ),
        (&["--bind", "systemd://", "--bind", "systemd://"], "names no socket that is left"),
    ] {
        let error = fail(&two(), options);
        assert!(error.contains(says), "{options:?}: {error}");
    }
    let error = fail(&[], &["--bind", "systemd://"]);
    assert!(error.contains("systemd has passed none, so is there a socket unit"), "{error}");
}

#[test]
fn a_descriptor_that_is_no_listening_socket_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let (pair, _other) = UnixDatagram::pair().unwrap();
    for (fd, says) in [
        (
            OwnedFd::from(connection),
            "it does not listen, as a connection: with systemd, set Accept=no",
        ),
        (file.into(), "it is not a socket"),
        (pair.into(), "it has no address"),
    ] {
        let error = fail(&[("odd", fd)], &["--bind", "systemd://odd"]);
        assert!(error.contains("cannot serve the socket `odd`"), "{error}");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn variables_that_contradict_the_protocol_are_errors() {
    for (name, value, says) in [
        ("LISTEN_FDS", "many", "has set LISTEN_FDS to `many`, which is wrong"),
        ("LISTEN_FDS", "1025", "a number from 0 to 1024"),
        ("LISTEN_FDNAMES", "web:admin", "has set LISTEN_FDNAMES to `web:admin`"),
        ("WATCHDOG_USEC", "0", "has set WATCHDOG_USEC to `0`"),
    ] {
        let mut service = Service::new(&[("web", listener())], &["serve", "--bind", "systemd://"]);
        service.command.env(name, value);
        let (code, error) = service.fail();
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(says), "{error}");
    }
    let mut service = Service::new(&[("web", listener())], &["serve", "--bind", "systemd://"]);
    service.command.env("LISTEN_FDS", "60").env_remove("LISTEN_FDNAMES");
    let (_, error) = service.fail();
    assert!(error.contains("which LISTEN_FDS promises, is not open"), "{error}");
}

#[test]
fn a_socket_of_systemd_has_no_options_and_no_class() {
    for (options, says) in [
        (&["--bind", "systemd://web?rcvbuf=4MiB"][..], "its unit has the options of the socket"),
        (&["--bind", "systemd://a:b"], "printable characters without a colon"),
        (
            &["--bind", "systemd://web", "--server", "TCPServer"],
            "TCPServer binds an address: use --concurrency",
        ),
    ] {
        let (code, error) =
            Service::new(&[("web", listener())], &[&["serve"], options].concat()).fail();
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(says), "{error}");
    }
}
