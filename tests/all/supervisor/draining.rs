//! `drain`: handlers that finish what they have begun.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Stdio};

use socketserver_tests::process::{TIMEOUT, wait_until};

use super::{addresses, answers, ask, configuration, key, order, pid, status, table, up};
use crate::client::expect;
use crate::configuration::Folder;
use crate::fixture::{MODES, host};

/// Begins to drain, and returns the command that waits for it.
fn drain(folder: &Folder, arguments: &[&str]) -> Child {
    let mut command = host();
    command.arg("drain").args(arguments).arg("--control").arg(folder.path("control"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn state(folder: &Folder, name: &str) -> String {
    let status = status(folder);
    let handler =
        status["handlers"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap();
    handler["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_drained_handler_refuses_clients_and_finishes_what_it_has_begun() {
    for mode in MODES {
        let folder = Folder::new();
        let [one, two] = addresses();
        folder.copy("echo", "one.wasm");
        folder.write("two.wat", answers('b'));
        let mode = key(mode);
        let keys = format!("{mode}\ngrace = \"1h\"");
        let tables = [table("one", "one.wasm", one, &keys), table("two", "two.wat", two, "")];
        folder.write("c.toml", configuration(&tables));
        let mut server = up(&folder, 2);
        server.wait_for_log("all 2 handlers serve").unwrap();
        let mut stream = TcpStream::connect(one).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(b"1").unwrap();
        expect(&mut stream, b"1");
        let command = drain(&folder, &["one"]);
        wait_until("its sockets are closed", || state(&folder, "one") == "drained");
        assert_eq!(ask(one), Err(ErrorKind::ConnectionRefused));
        assert_eq!(ask(two), Ok("b".to_owned()));
        // The request goes on, and `drain` waits for it.
        stream.write_all(b"2").unwrap();
        expect(&mut stream, b"2");
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{mode}: {output:?}");
        assert_eq!(order(&folder, &["status"]).status.code(), Some(1));
        // It stays so at a reload, which says so, and takes the file over.
        folder.write("other.wat", answers('z'));
        let tables = [table("one", "other.wat", one, &keys), table("two", "two.wat", two, "")];
        folder.write("c.toml", configuration(&tables));
        let output = order(&folder, &["reload"]);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("the handler `one` is drained"), "{text}");
        assert_eq!(ask(one), Err(ErrorKind::ConnectionRefused));
        let output = order(&folder, &["drain", "one", "--undo"]);
        assert!(output.status.success(), "{mode}: {output:?}");
        assert_eq!(ask(one), Ok("z".to_owned()));
        assert_eq!(order(&folder, &["status"]).status.code(), Some(0));
        assert!(server.stop().unwrap().success(), "{mode}");
    }
}

#[test]
fn a_handler_that_is_to_be_drained_serves_on_for_a_while() {
    let folder = Folder::new();
    let [one, _] = addresses();
    folder.write("one.wat", answers('a'));
    let text = configuration(&[table("one", "one.wat", one, "")]);
    folder.write("c.toml", text.replace("[server]\n", "[server]\ndrain-delay = \"1h\"\n"));
    let mut server = up(&folder, 1);
    server.wait_for_log("all 1 handlers serve").unwrap();
    let before = pid(&folder, "one");
    let command = drain(&folder, &[]);
    wait_until("the handler is drained", || state(&folder, "one") == "draining");
    assert_eq!(ask(one), Ok("a".to_owned()));
    assert!(order(&folder, &["drain", "--undo"]).status.success());
    assert_eq!(pid(&folder, "one"), before);
    let output = command.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("the handler `one` serves again"), "{text}");
    assert_eq!(output.status.code(), Some(1));
    // SIGTERM has the delay, and SIGINT has not.
    server.signal("TERM").unwrap();
    wait_until("the handler is drained", || state(&folder, "one") == "draining");
    assert_eq!(ask(one), Ok("a".to_owned()));
    let output = order(&folder, &["drain", "--undo"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("the server is about to end"), "{text}");
    server.signal("TERM").unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(143));
    let mut server = up(&folder, 1);
    server.wait_for_log("all 1 handlers serve").unwrap();
    server.signal("INT").unwrap();
    assert!(server.wait().unwrap().success());
}

#[test]
fn a_second_signal_ends_what_has_begun() {
    for (mode, [first, second], code) in [
        (MODES[1], ["TERM", "TERM"], 143),
        (MODES[2], ["INT", "INT"], 130),
        (MODES[3], ["TERM", "INT"], 130),
    ] {
        let folder = Folder::new();
        let [one, _] = addresses();
        folder.copy("echo", "one.wasm");
        let mode = key(mode);
        let keys = format!("{mode}\ngrace = \"1h\"");
        folder.write("c.toml", configuration(&[table("one", "one.wasm", one, &keys)]));
        let mut server = up(&folder, 1);
        server.wait_for_log("all 1 handlers serve").unwrap();
        let mut stream = TcpStream::connect(one).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(b"1").unwrap();
        expect(&mut stream, b"1");
        let drain = drain(&folder, &[]);
        wait_until("its sockets are closed", || state(&folder, "one") == "drained");
        server.signal(first).unwrap();
        server.wait_for_log("another signal ends it now").unwrap();
        // `stop` waits like any other, and ends nothing.
        let mut stop = host();
        stop.arg("stop").arg("--control").arg(folder.path("control"));
        let stop = stop.stderr(Stdio::null()).spawn().unwrap();
        stream.write_all(b"2").unwrap();
        expect(&mut stream, b"2");
        server.signal(second).unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(code), "{mode}");
        // Of processes that are killed the kernel closes the connections.
        let end = stream.read(&mut [0]);
        assert!(matches!(end, Ok(0) | Err(_)), "{mode}: {end:?}");
        assert_ne!(end.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock), "{mode}");
        for command in [drain, stop] {
            command.wait_with_output().unwrap();
        }
    }
}

#[test]
fn drain_names_the_handlers_that_there_are() {
    let folder = Folder::new();
    let [one, _] = addresses();
    folder.write("one.wat", answers('a'));
    folder.write("c.toml", configuration(&[table("one", "one.wat", one, "")]));
    let mut server = up(&folder, 1);
    server.wait_for_log("all 1 handlers serve").unwrap();
    for arguments in [&["drain", "other"][..], &["drain", "other", "--undo"]] {
        let output = order(&folder, arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("there is no handler `other`; the handlers are `one`"), "{text}");
    }
    assert!(server.stop().unwrap().success());
}
