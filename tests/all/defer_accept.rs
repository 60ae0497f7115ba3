//! `--defer-accept`: a request begins with the first byte of its client. Before that a connection
//! costs neither an instance nor a thread or process.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use socket2::SockRef;
use socketserver_tests::build;
use socketserver_tests::bystander::Bystander;
use socketserver_tests::process::{Server, wait_until};
use socketserver_tests::procfs::{children, memory, status};

use crate::client::{ask, connect_from, expect, read_to_end, reset};
use crate::counters::{logged_counters, request_counters};
use crate::exhaustion::started_by;
use crate::fixture::{DATAGRAM, FIXTURE, File, Fixture, MODES, Served, host, serve};
use crate::monitor;

const OPTIONS: &[&str] = &["--defer-accept", "--log-format", "json"];

/// Starts the sample `name`, whose requests begin with a byte.
fn deferred(name: &str, options: &[&str]) -> Server {
    let handler = build::guest("rust", name).unwrap();
    Server::start(serve().arg(handler).args(OPTIONS).args(options), 1).unwrap()
}

fn connect(server: &Server, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| server.connect().unwrap()).collect()
}

/// Waits until this number of connections waits in the loop, and returns the counters.
fn wait_for_waiting(server: &mut Server, count: usize) -> Value {
    let mut counters = Value::Null;
    wait_until("the connections wait", || {
        counters = request_counters(server);
        counters["connections_waiting"] == count
    });
    counters
}

/// A limit of one request at once, in the modes that have such a limit.
fn one_at_once(mode: &[&str]) -> &'static [&'static str] {
    match mode {
        ["--concurrency", "threading"] => &["--max-requests", "1"],
        ["--concurrency", "forking"] => &["--max-children", "1"],
        _ => &[],
    }
}

#[test]
fn silent_connections_cost_no_instance_and_keep_no_client_waiting() {
    for mode in MODES {
        let mut server = deferred("upper", &[one_at_once(mode), mode].concat());
        let mut silent = connect(&server, 40);
        let counters = wait_for_waiting(&mut server, 40);
        let requests = json!({
            "accepted": 0, "in_flight": 0, "done": 0, "failed": {}, "refused": {},
        });
        assert_eq!(counters["requests"], requests, "{mode:?}");
        for _ in 0..5 {
            assert_eq!(ask(&server, b"hello"), b"HELLO", "{mode:?}");
        }
        for stream in &mut silent[30..] {
            stream.write_all(b"late").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(stream), b"LATE", "{mode:?}");
        }
        let counters = wait_for_waiting(&mut server, 30);
        assert_eq!(counters["instances"], 15, "{mode:?}");
    }
}

/// Each costs less than 1 KiB; the rest is room for the noise of a page here and there.
#[test]
fn two_thousand_silent_connections_cost_little_memory_and_no_thread() {
    const MANY: usize = 2000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let mut server = deferred("upper", &["--max-requests", "4", "--max-per-source", "10000"]);
    let first = connect(&server, 100);
    assert_eq!(ask(&server, b"hello"), b"HELLO");
    wait_for_waiting(&mut server, 100);
    let before = memory(server.pid(), "VmRSS").unwrap();
    let others: Vec<_> = (0..MANY)
        .map(|index| connect_from(&format!("127.0.0.{}", 2 + index % 20), server.address()))
        .collect();
    let counters = wait_for_waiting(&mut server, 100 + MANY);
    let each = memory(server.pid(), "VmRSS").unwrap().saturating_sub(before) / MANY as u64;
    assert!(each < 2048, "{each} bytes for each connection");
    let threads: usize = status(server.pid(), "Threads").unwrap().parse().unwrap();
    assert!(threads < 12, "{threads}");
    assert_eq!(counters["instances"], 1);
    assert_eq!(ask(&server, b"hello"), b"HELLO");
    drop((first, others));
    // The end of a stream is the beginning of an empty request.
    wait_until("all requests are done", || {
        request_counters(&mut server)["requests"]["done"] == 102 + MANY
    });
}

#[test]
fn an_empty_request_and_one_that_ends_at_once_are_requests() {
    for mode in MODES {
        let mut server = deferred("upper", mode);
        let mut silent = connect(&server, 1).remove(0);
        wait_for_waiting(&mut server, 1);
        silent.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut silent), b"");
        assert_eq!(ask(&server, b""), b"");
        assert_eq!(ask(&server, b"with its end"), b"WITH ITS END");
        wait_until("three requests are done", || {
            request_counters(&mut server)["requests"]["done"] == 3
        });
        assert_eq!(request_counters(&mut server)["instances"], 3, "{mode:?}");
    }
}

/// Out-of-band data does not make a socket readable. Its handler may wait for it.
#[test]
fn an_urgent_byte_is_a_first_byte() {
    let mut server = deferred("upper", &[]);
    let mut client = connect(&server, 1).remove(0);
    wait_for_waiting(&mut server, 1);
    SockRef::from(&client).send_out_of_band(b"!").unwrap();
    wait_until("the request runs", || request_counters(&mut server)["requests"]["in_flight"] == 1);
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client), b"HELLO");
}

#[test]
fn a_connection_that_is_reset_before_its_first_byte_is_refused() {
    for mode in MODES {
        let mut server = deferred("upper", mode);
        let client = connect(&server, 1).remove(0);
        wait_for_waiting(&mut server, 1);
        reset(client);
        let counters = wait_for_waiting(&mut server, 0);
        assert_eq!(counters["requests"]["refused"], json!({ "reset": 1 }), "{mode:?}");
        assert_eq!(counters["requests"]["accepted"], 0, "{mode:?}");
        assert_eq!(counters["instances"], 0, "{mode:?}");
    }
}

#[test]
fn the_idle_timeout_ends_a_silent_connection_without_an_instance() {
    for mode in MODES {
        let mut server = deferred("echo", &[&["--idle-timeout", "150ms"], mode].concat());
        let mut silent = connect(&server, 1).remove(0);
        let peer = silent.local_addr().unwrap().to_string();
        assert_eq!(read_to_end(&mut silent), b"");
        let line = server.wait_for_log("Exception occurred").unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let fields = &line["fields"];
        let fields = if fields.is_null() { &line } else { fields };
        assert_eq!(fields["reason"], "idle-timeout", "{line}");
        assert_eq!(fields["blame"], "client", "{line}");
        assert_eq!(fields["peer"], peer.as_str(), "{line}");
        let counters = wait_for_waiting(&mut server, 0);
        let requests = json!({
            "accepted": 1, "in_flight": 0, "done": 0, "failed": { "idle-timeout": 1 },
            "refused": {},
        });
        assert_eq!(counters["requests"], requests, "{mode:?}");
        assert_eq!(counters["instances"], 0, "{mode:?}");
    }
}

#[test]
fn the_rules_count_silent_connections() {
    for mode in MODES {
        // Each of several workers would count for itself.
        let one = |option: &&'static str| if *option == "2" { "1" } else { option };
        let mode: Vec<&str> = mode.iter().map(one).collect();
        let options = ["--deny", "127.0.0.9", "--max-per-source", "2"];
        let mut server = deferred("upper", &[&options[..], &mode].concat());
        let mut silent = connect(&server, 2);
        wait_for_waiting(&mut server, 2);
        assert_eq!(read_to_end(&mut server.connect().unwrap()), b"", "{mode:?}");
        assert_eq!(read_to_end(&mut connect_from("127.0.0.9", server.address())), b"");
        let mut other = connect_from("127.0.0.3", server.address());
        other.write_all(b"hello").unwrap();
        other.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut other), b"HELLO", "{mode:?}");
        let refused = request_counters(&mut server)["requests"]["refused"].clone();
        assert_eq!(refused, json!({ "deny": 1, "per-source": 1 }), "{mode:?}");
        // The permit of a silent connection is that of its request, and is free after it.
        reset(silent.remove(0));
        wait_for_waiting(&mut server, 1);
        assert_eq!(ask(&server, b"hello"), b"HELLO", "{mode:?}");
    }
}

/// A connection that has waited has all of its wall time before it.
#[test]
fn the_wall_time_begins_with_the_first_byte() {
    let mut server = deferred("echo", &["--wall-time", "400ms"]);
    let mut silent = connect(&server, 1).remove(0);
    wait_for_waiting(&mut server, 1);
    // The wall time of a request that has begun later is over.
    let mut later = server.connect().unwrap();
    later.write_all(b"1").unwrap();
    expect(&mut later, b"1");
    assert_eq!(read_to_end(&mut later), b"");
    silent.write_all(b"2").unwrap();
    expect(&mut silent, b"2");
}

#[test]
fn a_first_byte_that_comes_after_the_signal_is_served_within_the_grace() {
    for mode in MODES {
        let mut server = deferred("upper", mode);
        let mut silent = connect(&server, 1).remove(0);
        wait_for_waiting(&mut server, 1);
        server.signal("TERM").unwrap();
        wait_until("the server refuses clients", || TcpStream::connect(server.address()).is_err());
        silent.write_all(b"late").unwrap();
        silent.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut silent), b"LATE", "{mode:?}");
        assert!(server.wait().unwrap().success(), "{mode:?}");
    }
}

#[test]
fn connections_that_stay_silent_are_closed_after_the_grace() {
    for mode in MODES {
        let mut server = deferred("upper", &[&["--grace", "100ms"], mode].concat());
        let mut silent = connect(&server, 3);
        wait_for_waiting(&mut server, 3);
        server.signal("TERM").unwrap();
        server.wait().unwrap();
        for stream in &mut silent {
            assert_eq!(read_to_end(stream), b"", "{mode:?}");
        }
    }
}

#[test]
fn a_forked_child_has_no_connection_that_waits() {
    let mut server = deferred("echo", &["--concurrency", "forking", "--jail", "off"]);
    let client = || {
        let mut client = server.connect().unwrap();
        client.write_all(b"1").unwrap();
        expect(&mut client, b"1");
        client
    };
    let descriptors = || {
        let child = children(server.pid()).unwrap()[0];
        fs::read_dir(format!("/proc/{child}/fd")).unwrap().count()
    };
    let alone = client();
    let quiet = descriptors();
    drop(alone);
    wait_until("the child has ended", || children(server.pid()).unwrap().is_empty());
    let silent = connect(&server, 5);
    let client = client();
    assert_eq!(descriptors(), quiet);
    drop(client);
    wait_for_waiting(&mut server, 5);
    drop(silent);
}

/// The loop accepts as many connections as leave descriptors for all else.
#[test]
fn few_descriptors_bound_the_connections_that_wait() {
    let mut command = started_by(&["prlimit", "--nofile=80:80"]);
    let handler = build::guest("rust", "upper").unwrap();
    command.args(["serve", "--bind", "tcp://127.0.0.1:0"]).arg(handler).args(OPTIONS);
    let mut server = Server::start(command.args(["--max-requests", "2"]), 1).unwrap();
    let mut silent = connect(&server, 70);
    let mut counters = Value::Null;
    let mut last = 0;
    // It has accepted all that it will when the number is the same twice.
    wait_until("the server has accepted what it can", || {
        counters = request_counters(&mut server);
        let count = counters["connections_waiting"].as_u64().unwrap();
        count > 20 && std::mem::replace(&mut last, count) == count
    });
    assert!(last < 60, "{last}");
    assert_eq!(counters["accept_errors"], 0);
    let mut late = silent.pop().unwrap();
    late.write_all(b"late").unwrap();
    late.shutdown(Shutdown::Write).unwrap();
    // It is in the queue until others have gone.
    drop(silent);
    assert_eq!(read_to_end(&mut late), b"LATE");
    wait_for_waiting(&mut server, 0);
    assert_eq!(request_counters(&mut server)["accept_errors"], 0);
}

#[test]
fn connections_to_unix_sockets_wait_too() {
    for mode in MODES {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let mut command = host();
        command.arg("serve").arg(build::guest("rust", "upper").unwrap()).args(OPTIONS).args(mode);
        command.args(["--bind", &format!("unix://{}", path.display())]);
        let mut server = Server::start(&mut command, 1).unwrap();
        let connect = || UnixStream::connect(&path).unwrap();
        let mut clients = [connect(), connect()];
        wait_for_waiting(&mut server, 2);
        for client in &mut clients {
            client.write_all(b"hello").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"HELLO", "{mode:?}");
        }
    }
}

#[test]
fn a_connection_waits_for_the_header_of_its_proxy_and_then_for_its_first_byte() {
    for mode in MODES {
        let options = ["--proxy-from", "127.0.0.1", "--deny", "192.0.2.9"];
        let mut server = deferred("whoami", &[&options[..], mode].concat());
        let header = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 4711 80\r\n");
        let mut clients = connect(&server, 2);
        wait_for_waiting(&mut server, 2);
        clients[0].write_all(header("192.0.2.7").as_bytes()).unwrap();
        // The rules judge a client when it is named.
        clients[1].write_all(header("192.0.2.9").as_bytes()).unwrap();
        assert_eq!(read_to_end(&mut clients[1]), b"", "{mode:?}");
        let counters = wait_for_waiting(&mut server, 1);
        assert_eq!(counters["instances"], 0, "{mode:?}");
        clients[0].write_all(b"x").unwrap();
        let answer = read_to_end(&mut clients[0]);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("client_address=192.0.2.7 4711"), "{mode:?}: {answer}");
        let both = [header("192.0.2.7").as_bytes(), b"x"].concat();
        assert!(!ask(&server, &both).is_empty(), "{mode:?}");
    }
}

#[test]
fn one_request_is_one_that_has_begun() {
    let mut server = deferred("upper", &["--once", "--idle-timeout", "5s", "--stats"]);
    let _silent = connect(&server, 2);
    assert_eq!(ask(&server, b"hello"), b"HELLO");
    assert!(server.wait().unwrap().success());
    // The server has not waited for the others.
    let counters = logged_counters(&mut server);
    assert_eq!(counters["requests"]["failed"], json!({}));
    assert_eq!(counters["requests"]["done"], 1);
}

#[test]
fn the_monitor_shows_the_connections_that_wait() {
    for mode in MODES {
        let address = monitor::free();
        let server =
            deferred("upper", &[&["--metrics", &format!("tcp://{address}")], mode].concat());
        let silent = connect(&server, 3);
        wait_until("the connections are shown", || {
            let status = monitor::get(address, "/status").1;
            let status: Value = serde_json::from_str(&status).unwrap();
            let handler = &status["handlers"][0];
            assert_eq!(handler["in_flight"], json!([]), "{mode:?}");
            handler["totals"]["connections_waiting"] == 3
        });
        let metrics = monitor::get(address, "/metrics").1;
        let name = "socketserver_connections_waiting{handler=\"upper\"}";
        assert_eq!(monitor::sample(&metrics, name), Some(3.0), "{mode:?}");
        drop(silent);
    }
}

#[test]
fn sockets_for_datagrams_have_no_first_byte_to_wait_for() {
    let mut command = host();
    let handler = build::guest("rust", "dupper").unwrap();
    command.arg("serve").arg(handler).args(["--bind", "udp://127.0.0.1:0", "--defer-accept"]);
    let said = format!("{:#}", Server::start(&mut command, 1).err().unwrap());
    assert!(said.contains("--defer-accept: "), "{said}");
    assert!(said.contains("udp://127.0.0.1:0 is for datagrams"), "{said}");
}

/// The text of a component that also states that its clients speak first.
fn stating(fixture: &Fixture<'_>) -> String {
    let text = fixture.text();
    let (component, _) = text.trim_end().rsplit_once(')').unwrap();
    format!(
        "{component}
        (core module $statement (func (export \"stated\")))
        (core instance $statement (instantiate $statement))
        (func (export \"client-speaks-first\") (canon lift (core func $statement \"stated\"))))"
    )
}

#[test]
fn a_component_states_that_its_clients_speak_first() {
    for mode in MODES {
        let options = [&["--log-format", "json"], mode].concat();
        let mut served = Served::start(&stating(&FIXTURE), &["tcp://127.0.0.1:0"], &options);
        let mut silent = connect(&served.server, 1).remove(0);
        assert_eq!(wait_for_waiting(&mut served.server, 1)["instances"], 0, "{mode:?}");
        silent.write_all(b"-").unwrap();
        assert_eq!(read_to_end(&mut silent), b"ok", "{mode:?}");
        wait_for_waiting(&mut served.server, 0);
    }
}

#[test]
fn the_statement_is_nothing_to_a_socket_for_datagrams() {
    let served = Served::start(&stating(&DATAGRAM), &["udp://127.0.0.1:0"], &[]);
    let bystander = Bystander::new(&served.server.endpoints()[0], b"-", b"ok").unwrap();
    bystander.ask().unwrap();
}

#[test]
fn a_handler_in_rust_states_that_its_clients_speak_first() {
    for (sample, states) in [("oneshot", true), ("upper", false)] {
        let handler = build::guest("rust", sample).unwrap();
        let report = host().arg("inspect").arg("--json").arg(&handler).output().unwrap();
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        assert_eq!(report["clients_speak_first"], states, "{sample}");
        let text = host().arg("inspect").arg(&handler).output().unwrap().stdout;
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.contains("\nclients   speak first: "), states, "{text}");
        let mut server =
            Server::start(serve().arg(handler).args(["--log-format", "json"]), 1).unwrap();
        let silent = connect(&server, 1);
        if states {
            wait_for_waiting(&mut server, 1);
        } else {
            wait_until("its request runs", || request_counters(&mut server)["instances"] == 1);
        }
        drop(silent);
    }
}

#[test]
fn the_option_is_a_key_of_the_configuration_file() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let metrics = directory.path().join("metrics");
    let text = format!(
        "version = 1\n[server]\ncontrol = 'off'\nmetrics = ['unix://{}']\n[handler.upper]\n\
         source = '{}'\nbind = ['unix://{}']\ndefer-accept = true\n",
        metrics.display(),
        build::guest("rust", "upper").unwrap().display(),
        socket.display()
    );
    let file = File::new("config.toml", text.as_bytes());
    let mut command = host();
    let _server = Server::start(command.arg("up").arg(&file.path), 1).unwrap();
    let mut client = UnixStream::connect(&socket).unwrap();
    wait_until("the connection waits", || {
        let mut stream = UnixStream::connect(&metrics).unwrap();
        stream.write_all(b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.contains("\"connections_waiting\":1,")
    });
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"HELLO");
}
