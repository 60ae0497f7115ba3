//! `up`: several handlers, and what happens to their processes.

mod certificates;
mod control;
mod draining;
mod failures;
mod swaps;
mod upgrades;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use socketserver_tests::process::{Server, TIMEOUT, send_signal, wait_until};

use crate::client::expect;
use crate::configuration::Folder;
use crate::fixture::{FIXTURE, Fixture, MODES, host};

/// Returns the key of a way of running requests, with its value.
fn key(mode: &[&str]) -> String {
    match mode {
        ["--workers", count] => format!("workers = {count}"),
        ["--concurrency", mode, "--workers", count] => {
            format!("concurrency = \"{mode}\"\nworkers = {count}")
        }
        _ => format!("concurrency = \"{}\"", mode[1]),
    }
}

/// A handler that answers with this letter.
fn answers(letter: char) -> String {
    let handle = format!(
        "(i32.store8 (i32.const 1024) (i32.const {})) (call $sendall (i32.const 1024) (i32.const 1))",
        u32::from(letter)
    );
    Fixture { handle: &handle, ..FIXTURE }.text()
}

/// Two free addresses.
fn addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

fn table(name: &str, source: &str, address: SocketAddr, more: &str) -> String {
    format!("[handler.{name}]\nsource = \"{source}\"\nbind = \"tcp://{address}\"\n{more}\n")
}

fn configuration(tables: &[String]) -> String {
    format!("version = 1\n[server]\ncontrol = \"control\"\n{}", tables.concat())
}

fn up(folder: &Folder, sockets: usize) -> Server {
    Server::start(host().arg("up").arg(folder.path("c.toml")), sockets).unwrap()
}

fn order(folder: &Folder, arguments: &[&str]) -> Output {
    host().args(arguments).arg("--control").arg(folder.path("control")).output().unwrap()
}

fn status(folder: &Folder) -> Value {
    let output = order(folder, &["status", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn pid(folder: &Folder, name: &str) -> Option<u32> {
    let status = status(folder);
    let handler = status["handlers"].as_array().unwrap().iter().find(|it| it["name"] == name)?;
    let serves = handler["state"] == "serving";
    serves.then(|| u32::try_from(handler["pid"].as_u64().unwrap()).unwrap())
}

/// Asks for one letter.
fn ask(address: SocketAddr) -> Result<String, ErrorKind> {
    let kind = |error: std::io::Error| error.kind();
    let mut stream = TcpStream::connect(address).map_err(kind)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(kind)?;
    stream.write_all(b"x").map_err(kind)?;
    stream.shutdown(Shutdown::Write).map_err(kind)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(kind)?;
    Ok(answer)
}

/// Waits until the code serves that answers with this letter.
fn wait_for_answer(address: SocketAddr, letter: &str) {
    wait_until("the new handler serves", || ask(address).unwrap() == letter);
}

#[test]
fn each_handler_has_a_process_and_only_what_has_changed_is_replaced() {
    let folder = Folder::new();
    let [one, two] = addresses();
    folder.write("one.wat", answers('a'));
    folder.write("two.wat", answers('b'));
    let tables = [
        table("one", "one.wat", one, ""),
        table("two", "two.wat", two, "concurrency = \"forking\""),
    ];
    folder.write("c.toml", configuration(&tables));
    let mut server = up(&folder, 2);
    server.wait_for_log("all 2 handlers serve").unwrap();
    assert_eq!([ask(one), ask(two)], [Ok("a".to_owned()), Ok("b".to_owned())]);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &folder.path("control").metadata().unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let before = [pid(&folder, "one").unwrap(), pid(&folder, "two").unwrap()];
    // Nothing has changed.
    assert!(order(&folder, &["reload"]).status.success());
    assert_eq!([pid(&folder, "one").unwrap(), pid(&folder, "two").unwrap()], before);
    // The content of a file has changed.
    folder.write("two.wat", answers('c'));
    assert!(order(&folder, &["reload"]).status.success());
    wait_for_answer(two, "c");
    assert_eq!(ask(one), Ok("a".to_owned()));
    assert_eq!(pid(&folder, "one").unwrap(), before[0]);
    assert_ne!(pid(&folder, "two").unwrap(), before[1]);
    // A handler is gone, and refuses clients.
    folder.write("c.toml", configuration(&tables[..1]));
    assert!(order(&folder, &["reload"]).status.success());
    wait_until("the second handler refuses", || ask(two) == Err(ErrorKind::ConnectionRefused));
    let text = String::from_utf8(order(&folder, &["status"]).stdout).unwrap();
    assert!(
        text.starts_with(&format!(
            "one  serving   tcp://{one}  generation 1, process {}, for ",
            before[0]
        )),
        "{text}"
    );
    assert!(order(&folder, &["stop"]).status.success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
    assert_eq!(ask(one), Err(ErrorKind::ConnectionRefused));
    assert_eq!(order(&folder, &["status"]).status.code(), Some(1));
}

#[test]
fn a_request_in_flight_is_finished_by_the_code_that_began_it() {
    for mode in MODES {
        let folder = Folder::new();
        let [address, _] = addresses();
        folder.copy("echo", "h.wasm");
        let mode = key(mode);
        let keys = format!("{mode}\ngrace = \"1h\"");
        folder.write("c.toml", configuration(&[table("h", "h.wasm", address, &keys)]));
        let mut server = up(&folder, 1);
        server.wait_for_log("all 1 handlers serve").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(b"1").unwrap();
        expect(&mut stream, b"1");
        // With sync it waits in the queue, behind that one.
        let mut waits = TcpStream::connect(address).unwrap();
        waits.write_all(b"w").unwrap();
        folder.copy("upper", "h.wasm");
        assert!(order(&folder, &["reload"]).status.success(), "{mode}");
        wait_for_answer(address, "X");
        stream.write_all(b"2").unwrap();
        expect(&mut stream, b"2");
        drop(stream);
        waits.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        waits.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.to_lowercase(), "w", "{mode}");
        assert!(server.stop().unwrap().success(), "{mode}");
    }
}

#[test]
fn a_handler_that_cannot_be_loaded_leaves_the_old_one_in_place() {
    let folder = Folder::new();
    let [one, two] = addresses();
    folder.write("one.wat", answers('a'));
    folder.write("two.wat", answers('b'));
    folder.write(
        "c.toml",
        configuration(&[table("one", "one.wat", one, ""), table("two", "two.wat", two, "")]),
    );
    let mut server = up(&folder, 2);
    server.wait_for_log("all 2 handlers serve").unwrap();
    folder.write("one.wat", "(component");
    folder.write("two.wat", answers('c'));
    let output = order(&folder, &["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("the handler `one` stays as it was: generation 3 ended with exit status: 1"),
        "{said}"
    );
    wait_for_answer(two, "c");
    assert_eq!(ask(one), Ok("a".to_owned()));
    let status = status(&folder);
    assert!(
        status["handlers"][0]["last_failure"].as_str().unwrap().contains("generation 3"),
        "{status}"
    );
    // A configuration that is wrong changes nothing, and a signal asks for a reload, too.
    folder.write("c.toml", "version = 1\n[handler.one]\n");
    server.signal("HUP").unwrap();
    server.wait_for_log("the configuration stays as it was: ").unwrap();
    assert_eq!([ask(one), ask(two)], [Ok("a".to_owned()), Ok("c".to_owned())]);
    folder.write("c.toml", configuration(&[table("one", "one.wat", one, "")]));
    folder.write("one.wat", answers('d'));
    server.signal("HUP").unwrap();
    wait_for_answer(one, "d");
    assert!(server.stop().unwrap().success());
}

#[test]
fn a_process_that_is_killed_is_started_anew_and_its_clients_wait() {
    let folder = Folder::new();
    let [address, _] = addresses();
    folder.write("h.wat", answers('a'));
    folder.write("c.toml", configuration(&[table("h", "h.wat", address, "")]));
    let mut server = up(&folder, 1);
    server.wait_for_log("all 1 handlers serve").unwrap();
    for restarts in 1..=2 {
        let killed = pid(&folder, "h").unwrap();
        send_signal(killed, "KILL").unwrap();
        server.wait_for_log("ended with signal: 9").unwrap();
        assert_eq!(ask(address), Ok("a".to_owned()));
        assert_ne!(pid(&folder, "h"), Some(killed));
        assert_eq!(status(&folder)["handlers"][0]["restarts"], restarts);
    }
    // The pauses grow.
    let pauses: Vec<_> =
        server.log().iter().filter(|line| line.contains("is started anew in")).cloned().collect();
    assert!(pauses[0].contains("in 100ms") && pauses[1].contains("in 200ms"), "{pauses:?}");
    assert!(server.stop().unwrap().success());
}

/// Processes that serve do not outlive it for longer than their requests.
#[test]
fn without_the_supervisor_handlers_finish_their_requests_and_end() {
    let folder = Folder::new();
    let [one, two] = addresses();
    folder.copy("echo", "h.wasm");
    let tables = [
        table("one", "h.wasm", one, "concurrency = \"forking\""),
        table("two", "h.wasm", two, "workers = 1"),
    ];
    folder.write("c.toml", configuration(&tables));
    let mut server = up(&folder, 2);
    server.wait_for_log("all 2 handlers serve").unwrap();
    let pids = ["one", "two"].map(|name| pid(&folder, name).unwrap());
    let mut streams = [one, two].map(|address| TcpStream::connect(address).unwrap());
    for stream in &mut streams {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(b"1").unwrap();
        expect(stream, b"1");
    }
    server.signal("KILL").unwrap();
    for address in [one, two] {
        wait_until("the sockets are closed", || ask(address).is_err());
    }
    for stream in &mut streams {
        stream.write_all(b"2").unwrap();
        expect(stream, b"2");
    }
    drop(streams);
    for pid in pids {
        wait_until("the process ends", || !Path::new(&format!("/proc/{pid}/exe")).exists());
    }
}

#[test]
fn a_handler_that_cannot_be_served_at_the_start_is_exit_code_1() {
    let folder = Folder::new();
    let [one, two] = addresses();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    folder.write("one.wat", answers('a'));
    for (source, address, why) in [
        (
            "none.wasm",
            two,
            "the handler `two` cannot be served: generation 2 ended with exit status: 1",
        ),
        (
            "one.wat",
            taken.local_addr().unwrap(),
            "the handler `two` cannot be started: cannot listen on",
        ),
    ] {
        let tables = [table("one", "one.wat", one, ""), table("two", source, address, "")];
        folder.write("c.toml", configuration(&tables));
        let output = host().arg("up").arg(folder.path("c.toml")).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(ask(one), Err(ErrorKind::ConnectionRefused));
    }
}

#[test]
fn the_access_log_names_the_generation() {
    let folder = Folder::new();
    let [one, _] = addresses();
    folder.write("one.wat", answers('a'));
    folder.write("c.toml", configuration(&[table("one", "one.wat", one, "access-log = \"all\"")]));
    let mut server = up(&folder, 1);
    for (generation, letter) in [(1, 'a'), (2, 'b')] {
        folder.write("one.wat", answers(letter));
        assert!(order(&folder, &["reload"]).status.success());
        // The old generation may take a client until it has heard of the new one.
        wait_for_answer(one, &letter.to_string());
        let line = format!("INFO request handler=\"one\" generation={generation} ");
        server.wait_for_log(&line).unwrap();
    }
}
