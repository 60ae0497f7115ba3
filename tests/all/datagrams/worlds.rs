//! The kinds of sockets that a handler serves, and `wasi:cli/exit`.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Stdio;

use socketserver_tests::process::Server;

use super::{UDP, answer, ask, client};
use crate::client::ask as ask_stream;
use crate::fixture::{DATAGRAM, FIXTURE, File, Fixture, Served, host};
use crate::jail::is_available;

const STREAM_HANDLER: &str = "`socketserver:handler/stream-handler@0.1.0`";
const DATAGRAM_HANDLER: &str = "`socketserver:handler/datagram-handler@0.1.0`";

/// Returns the error of `serve` for a handler that it does not serve at this endpoint.
fn refused(text: &str, endpoint: &str) -> String {
    let file = File::new("fixture.wat", text.as_bytes());
    let mut command = host();
    command.arg("serve").arg(&file.path).args(["--bind", endpoint]);
    let mut serving = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A server that served the handler would not end.
    if serving.stdout.as_mut().unwrap().read(&mut [0]).unwrap() > 0 {
        serving.kill().unwrap();
        panic!("the handler is served");
    }
    let output = serving.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn a_handler_serves_only_the_sockets_of_its_world() {
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("socket");
    for endpoint in [UDP.to_owned(), format!("unixgram://{}", path.display())] {
        let said = refused(&FIXTURE.text(), &endpoint);
        assert!(said.contains(&format!("cannot serve {endpoint}: ")), "{said}");
        assert!(said.contains(&format!("targets {STREAM_HANDLER}")), "{said}");
        assert!(said.contains(&format!("needs {DATAGRAM_HANDLER}")), "{said}");
        assert!(said.contains("bind tcp:// or unix:// for it"), "{said}");
    }
    for endpoint in ["tcp://127.0.0.1:0".to_owned(), format!("unix://{}", path.display())] {
        let said = refused(&DATAGRAM.text(), &endpoint);
        assert!(said.contains(&format!("targets {DATAGRAM_HANDLER}")), "{said}");
        assert!(said.contains(&format!("needs {STREAM_HANDLER}")), "{said}");
        assert!(said.contains("bind udp:// or unixgram:// for it"), "{said}");
    }
    assert!(!path.exists());
}

/// Returns a component that contains both fixtures.
fn both() -> String {
    let (stream, datagram) = (FIXTURE.text(), DATAGRAM.text());
    let imports = datagram.split("(core module $libc").next().unwrap();
    let given = ["types", "sockets", "server", "log"]
        .map(|name| format!("(with \"socketserver:handler/{name}@0.1.0\" (instance ${name}))"))
        .join(" ");
    let given = format!("{given} (with \"wasi:cli/exit@0.2.6\" (instance $exit))");
    let export = |name: &str| {
        format!(
            "(alias export ${name} \"socketserver:handler/{name}-request@0.1.0\" (instance ${name}-request))
             (export \"socketserver:handler/{name}-request@0.1.0\" (instance ${name}-request))"
        )
    };
    format!(
        "{imports}
         {stream}
         (component $of-datagrams {}
         (instance $stream (instantiate $handler-component {given}))
         (instance $datagram (instantiate $of-datagrams {given}))
         {} {})",
        datagram
            .replace("$datagram-component", "$of-datagrams")
            .split_once("$of-datagrams")
            .unwrap()
            .1,
        export("stream"),
        export("datagram"),
    )
}

#[test]
fn one_handler_of_both_worlds_serves_both_kinds_of_sockets() {
    let mut command = host();
    let file = File::new("fixture.wat", both().as_bytes());
    command.arg("serve").arg(&file.path).args(["--bind", UDP, "--bind", "tcp://127.0.0.1:0"]);
    let server = Server::start(&mut command, 2).unwrap();
    assert_eq!(ask(&server, b"-"), b"ok");
    assert_eq!(ask_stream(&server, b"-"), b"ok");

    let output = host().arg("inspect").arg(&file.path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let worlds = "world     socketserver:handler/stream-handler@0.1.0\n          \
                  socketserver:handler/datagram-handler@0.1.0\n";
    assert!(text.contains(worlds) && text.ends_with("serve     yes\n"), "{text}");
    let output = host().arg("inspect").arg(&file.path).arg("--json").output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["worlds"][0], "socketserver:handler/stream-handler@0.1.0");
    assert_eq!(report["worlds"][1], "socketserver:handler/datagram-handler@0.1.0");
}

/// The jail differs between the modes, and for handlers that can open files.
#[test]
fn a_handler_of_both_worlds_is_served_in_the_jail_of_each() {
    if !is_available() {
        return;
    }
    let file = File::new("fixture.wat", both().as_bytes());
    for mode in [&["--concurrency", "forking"], &["--workers", "2"]] {
        for grants in [&[][..], &["--dir", "/tmp::/tmp:ro"]] {
            let directory = tempfile::tempdir().unwrap();
            let path = |name| directory.path().join(name);
            let unix = format!("unix://{}", path("stream").display());
            let unixgram = format!("unixgram://{}", path("datagram").display());
            let mut command = host();
            command.arg("serve").arg(&file.path).args(["--jail", "require"]).args(mode);
            command.args(grants).args(["--bind", UDP, "--bind", "tcp://127.0.0.1:0"]);
            command.args(["--bind", &unix, "--bind", &unixgram]);
            let mut server = Server::start(&mut command, 4).unwrap();
            for _ in 0..3 {
                assert_eq!(ask(&server, b"-"), b"ok", "{mode:?} {grants:?}");
                assert_eq!(ask_stream(&server, b"-"), b"ok", "{mode:?} {grants:?}");
                let mut stream = UnixStream::connect(path("stream")).unwrap();
                stream.write_all(b"-").unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                assert_eq!(answer, b"ok", "{mode:?} {grants:?}");
                let gram = UnixDatagram::bind(path("client")).unwrap();
                gram.send_to(b"-", path("datagram")).unwrap();
                let mut answer = [0; 9];
                let length = gram.recv(&mut answer).unwrap();
                assert_eq!(&answer[..length], b"ok", "{mode:?} {grants:?}");
                std::fs::remove_file(path("client")).unwrap();
            }
            assert!(server.stop().unwrap().success());
        }
    }
}

#[test]
fn exit_ends_the_request_and_is_not_logged() {
    let exit = "(call $exit (i32.const 1)) unreachable";
    let reply = "(call $reply (i32.const 104) (i32.const 9))";
    for version in ["0.2.0", "0.2.6", "0.2.9"] {
        for fixture in [
            Fixture { setup: exit, handle: reply, finish: reply, ..DATAGRAM },
            Fixture { handle: exit, finish: reply, ..DATAGRAM },
            Fixture { handle: "(return (call $failed))", finish: exit, ..DATAGRAM },
        ] {
            let text = fixture.text().replace("exit@0.2.6", &format!("exit@{version}"));
            let mut served = Served::start(&text, &[UDP], &[]);
            let client = client(&served.server);
            client.send(b"x").unwrap();
            // The first answer belongs to the second datagram: the first had none.
            assert_eq!(answer(&client, b"-"), b"ok");
            assert!(served.server.stop().unwrap().success());
            let log = served.server.log();
            assert!(
                !log.iter().any(|line| line.contains("Exc") || line.contains("exit")),
                "{log:?}"
            );
        }
    }
    let mut served =
        Fixture { handle: exit, ..DATAGRAM }.serve_at(&[UDP], &["--log-level", "debug"]);
    client(&served.server).send(b"x").unwrap();
    let line = served.server.wait_for_log("handle called exit").unwrap();
    assert!(line.contains("DEBUG") && line.contains("failed=true"), "{line}");
}

#[test]
fn exit_in_a_start_function_is_an_error_of_the_handler() {
    let fields = "(func $start (call $exit (i32.const 0))) (start $start)";
    let said = refused(&Fixture { fields, ..DATAGRAM }.text(), UDP);
    assert!(said.contains("cannot be instantiated") && said.contains("it called exit"), "{said}");
}

#[test]
fn other_versions_of_exit_are_not_provided() {
    let text = DATAGRAM.text();
    for version in ["0.3.0", "0.2.0-rc-2023-11-10", "1.2.0"] {
        let said = refused(&text.replace("exit@0.2.6", &format!("exit@{version}")), UDP);
        assert!(
            said.contains(&format!(
                "imports `wasi:cli/exit@{version}`, which the host does not provide"
            )),
            "{said}"
        );
    }
}
