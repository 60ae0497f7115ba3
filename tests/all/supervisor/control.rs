//! Clients of the control socket that do not do as they should.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use serde_json::Value;
use socketserver_tests::process::{TIMEOUT, wait_until};

use super::{addresses, answers, ask, configuration, order, status, table, up};
use crate::client::expect;
use crate::configuration::Folder;
use crate::exhaustion::set_limit;

fn connect(folder: &Folder) -> UnixStream {
    let stream = UnixStream::connect(folder.path("control")).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

fn say(folder: &Folder, text: &[u8]) -> UnixStream {
    let mut stream = connect(folder);
    stream.write_all(text).unwrap();
    stream
}

/// Reads an answer, and returns its problems.
fn problems(mut stream: UnixStream) -> Vec<String> {
    let mut answer = Vec::new();
    // What the server has not read of an endless line resets the connection.
    let _ = stream.read_to_end(&mut answer);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    serde_json::from_value(answer["problems"].clone()).unwrap()
}

#[test]
fn clients_that_ask_for_nothing_keep_no_others_from_asking() {
    let folder = Folder::new();
    let [one, _] = addresses();
    folder.write("one.wat", answers('a'));
    folder.write("c.toml", configuration(&[table("one", "one.wat", one, "")]));
    let mut server = up(&folder, 1);
    server.wait_for_log("all 1 handlers serve").unwrap();
    let silent: Vec<_> = (0..40).map(|_| connect(&folder)).collect();
    assert_eq!(status(&folder)["handlers"][0]["state"], "serving");
    // On a busy machine its time may be over first.
    let refused = problems(silent.into_iter().next().unwrap());
    assert!(
        ["too many clients ask at once", "nothing was asked within 5s"].contains(&&*refused[0]),
        "{refused:?}"
    );
    for (said, why) in [
        (&b"\n"[..], "the words are status, "),
        (b"\0\xff\xfe{\n", "the words are status, "),
        (b"status now\n", "the words are status, "),
        (b"stop\r\n", "the words are status, "),
        (b"GET / HTTP/1.1\r\n\r\n", "the words are status, "),
        (&[b'a'; 500], "a line has at most 127 bytes"),
    ] {
        let said = problems(say(&folder, said));
        assert!(said[0].starts_with(why), "{said:?}");
    }
    let half = say(&folder, b"reload");
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(problems(half), ["the line has no end"]);
    // A client that has gone.
    drop(say(&folder, b"status\n"));
    assert_eq!(ask(one), Ok("a".to_owned()));
    assert!(server.stop().unwrap().success());
}

#[test]
fn a_client_that_reads_late_gets_the_whole_of_a_long_answer_and_holds_up_nobody() {
    let folder = Folder::new();
    folder.write("h.wat", answers('a'));
    // Each of these bytes takes many in an answer.
    let own = folder.path("control").parent().unwrap().file_name().unwrap().display().to_string();
    let name = format!("{own}{}", "\\u0001".repeat(80));
    let mut text = configuration(&[]);
    for handler in 0..8 {
        let binds: Vec<_> = (0..64).map(|at| format!("\"unix://@{name}{handler}-{at}\"")).collect();
        let bind = binds.join(", ");
        let _ = write!(text, "[handler.h{handler}]\nsource = \"h.wat\"\nbind = [{bind}]\n");
    }
    folder.write("c.toml", text);
    let mut server = up(&folder, 8 * 64);
    server.wait_for_log("all 8 handlers serve").unwrap();
    // More than may read at once.
    let mut late: Vec<_> = (0..20).map(|_| say(&folder, b"status\n")).collect();
    assert_eq!(status(&folder)["handlers"][7]["state"], "serving");
    let mut answer = Vec::new();
    late.pop().unwrap().read_to_end(&mut answer).unwrap();
    // More than a socket has room for.
    assert!(answer.len() > 250_000, "{}", answer.len());
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["handlers"][7]["name"], "h7");
    // The first has made room for another.
    let mut cut = Vec::new();
    late.swap_remove(0).read_to_end(&mut cut).unwrap();
    assert!(serde_json::from_slice::<Value>(&cut).is_err());
    assert!(order(&folder, &["reload"]).status.success());
    assert!(server.stop().unwrap().success());
}

#[test]
fn clients_that_wait_have_a_bound() {
    let folder = Folder::new();
    let [one, _] = addresses();
    folder.copy("echo", "h.wasm");
    folder.write("c.toml", configuration(&[table("one", "h.wasm", one, "grace = \"1h\"")]));
    let mut server = up(&folder, 1);
    server.wait_for_log("all 1 handlers serve").unwrap();
    let mut stream = TcpStream::connect(one).unwrap();
    stream.write_all(b"1").unwrap();
    expect(&mut stream, b"1");
    let mut waiting: Vec<_> = (0..32).map(|_| say(&folder, b"drain one\n")).collect();
    let too_many = order(&folder, &["drain", "one"]);
    let said = String::from_utf8(too_many.stderr).unwrap();
    assert_eq!(too_many.status.code(), Some(1), "{said}");
    assert!(said.contains("32 clients wait for `drain` already"), "{said}");
    // Other words, and the answers to them, are not in the way of these.
    assert_eq!(order(&folder, &["reload"]).status.code(), Some(1));
    assert_eq!(status(&folder)["handlers"][0]["state"], "drained");
    // A client that has gone makes room for another. What came before a question is known when it
    // is answered.
    waiting.pop();
    status(&folder);
    waiting.push(say(&folder, b"drain one\n"));
    status(&folder);
    assert_eq!(order(&folder, &["drain", "one"]).status.code(), Some(1));
    drop(stream);
    for client in waiting {
        assert_eq!(problems(client), Vec::<String>::new());
    }
    assert!(order(&folder, &["stop"]).status.success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn without_descriptors_a_client_waits() {
    let folder = Folder::new();
    let [one, _] = addresses();
    folder.write("one.wat", answers('a'));
    folder.write("c.toml", configuration(&[table("one", "one.wat", one, "")]));
    let mut server = up(&folder, 1);
    server.wait_for_log("all 1 handlers serve").unwrap();
    // All descriptors below 8 are open.
    set_limit(&server, "nofile", "8");
    let mut client = say(&folder, b"status\n");
    server.wait_for_log("cannot accept clients of the control socket").unwrap();
    assert_eq!(ask(one), Ok("a".to_owned()));
    set_limit(&server, "nofile", "1024");
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("serving"), "{answer}");
    assert!(server.stop().unwrap().success());
}

#[test]
fn sigusr1_has_each_handler_print_its_counters() {
    let folder = Folder::new();
    let [one, two] = addresses();
    folder.write("h.wat", answers('a'));
    let tables = [table("one", "h.wat", one, ""), table("two", "h.wat", two, "")];
    folder.write("c.toml", configuration(&tables));
    let mut server = up(&folder, 2);
    server.wait_for_log("all 2 handlers serve").unwrap();
    assert_eq!([ask(one), ask(two)], [Ok("a".to_owned()), Ok("a".to_owned())]);
    server.signal("USR1").unwrap();
    for _ in 0..2 {
        server.wait_for_log("connections").unwrap();
    }
    wait_until("it serves", || ask(one) == Ok("a".to_owned()));
    assert!(server.stop().unwrap().success());
}
