//! Names that lead where their owner likes. Each address that a name leads to is checked, and
//! the address that was checked is the one that the server connects to.
//!
//! The server runs in a network of its own (`own_network.py`), in which public addresses exist
//! and a name can lead to another address at each lookup. The server of an address says which
//! one it is.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::process::Command;

use socketserver_tests::build;
use socketserver_tests::process::{Server, TIMEOUT};
use tempfile::TempDir;

use super::{DENIED, Dialer, MODES};
use crate::fixture::host;

/// Returns a command that runs a program in a network with these names.
fn in_own_network(names: &[&str], program: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args((!is_root()).then_some("--map-root-user"));
    command.args(["--mount", "--net", "python3"]);
    command.arg(build::root().join("tests/all/network/own_network.py")).arg("7000");
    command.args(names).arg("--").arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns the modes in which the server can run there: in a user namespace the jail cannot have
/// its PID namespace.
fn modes() -> impl Iterator<Item = &'static [&'static str]> {
    let is_possible = |mode: &&[&str]| is_root() || !mode.contains(&"require");
    if !is_root() {
        println!("skipped: only root has a jail in a network of its own");
    }
    MODES.into_iter().filter(is_possible)
}

/// Returns whether this machine lets the tests have a network of their own.
fn is_available() -> bool {
    let tried = in_own_network(&[], &Command::new("true")).output();
    let why = match tried {
        Ok(tried) if tried.status.success() => return true,
        Ok(tried) => String::from_utf8_lossy(&tried.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    println!("skipped: there is no network of its own for a test: {why}");
    false
}

/// The handler in a network of its own. Its clients reach it by a Unix socket.
struct Served {
    server: Server,
    directory: TempDir,
}

impl Served {
    fn start(mode: &[&str], names: &[&str], options: &[&str]) -> Served {
        Served::handler(("rust", "dialer"), mode, names, options)
    }

    fn handler(
        (language, handler): (&str, &str),
        mode: &[&str],
        names: &[&str],
        options: &[&str],
    ) -> Served {
        let directory = tempfile::tempdir().unwrap();
        let mut command = host();
        command.args(["serve", "--bind"]);
        command.arg(format!("unix://{}/socket", directory.path().display()));
        command.arg(build::guest(language, handler).unwrap()).args(mode).args(options);
        let server = Server::start(&mut in_own_network(names, &command), 1).unwrap();
        Served { server, directory }
    }

    fn connect(&self) -> Dialer<UnixStream> {
        let stream = UnixStream::connect(self.directory.path().join("socket")).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Dialer(BufReader::new(stream))
    }
}

#[test]
fn a_name_that_changes_its_address_between_two_lookups_leads_to_no_other_than_was_checked() {
    if !is_available() {
        return;
    }
    for mode in modes() {
        let names = ["moves.example=8.8.8.8,127.0.0.1,9.9.9.9", "again.example=8.8.4.4,127.0.0.1"];
        let grants =
            ["--connect", "tcp://moves.example:7000", "--connect", "tcp://again.example:7000"];
        let mut served = Served::start(mode, &names, &grants);
        let mut client = served.connect();
        client.expect(&[
            ("lookup moves.example", "8.8.8.8:80"),
            ("socket inet stream", "ok"),
            ("connect 8.8.8.8:7000", "ok"),
            ("recv", "8.8.8.8"),
            ("lookup moves.example", "127.0.0.1:80"),
            ("socket inet stream", "ok"),
            ("connect 127.0.0.1:7000", DENIED),
            ("connect 9.9.9.9:7000", DENIED),
            // The host itself looks no name up when it connects: the third lookup is the guest's.
            ("connect 8.8.8.8:7000", "ok"),
            ("recv", "8.8.8.8"),
            ("lookup moves.example", "9.9.9.9:80"),
            ("socket inet stream", "ok"),
            ("connect 9.9.9.9:7001", DENIED),
            ("connect 9.9.9.9:7000", "ok"),
            ("recv", "9.9.9.9"),
            // Python's `create_connection` looks the name up and connects.
            ("dial again.example 7000", "ok"),
            ("recv", "8.8.4.4"),
            ("dial again.example 7000", DENIED),
        ]);
        let line = served.server.wait_for_log("denied").unwrap();
        assert!(line.contains("--connect tcp://127.0.0.1:7000 would permit it"), "{line}");
        // What a name has led to in one request is nothing to the next one.
        drop(client);
        let mut client = served.connect();
        client.expect(&[("socket inet stream", "ok"), ("connect 8.8.8.8:7000", DENIED)]);
    }
}

#[test]
fn a_name_leads_to_public_addresses_only_whatever_its_owner_says() {
    if !is_available() {
        return;
    }
    let cases = [
        ("public.example=8.8.8.8", "8.8.8.8"),
        ("public-mapped.example=::ffff:8.8.8.8", "8.8.8.8"),
        // One after the other is tried, and the public one is reached.
        ("both.example=127.0.0.1+8.8.8.8", "8.8.8.8"),
        ("loopback.example=127.0.0.1", DENIED),
        ("another-loopback.example=127.255.0.9", DENIED),
        ("loopback-mapped.example=::ffff:127.0.0.1", DENIED),
        ("loopback-ipv6.example=::1", DENIED),
        ("any.example=0.0.0.0", DENIED),
        ("private.example=10.0.0.1", DENIED),
        ("private-mapped.example=::ffff:10.0.0.1", DENIED),
        ("link-local.example=169.254.169.254", DENIED),
        ("shared.example=100.64.0.1", DENIED),
        ("translated.example=64:ff9b::7f00:1", DENIED),
    ];
    let names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
    let hosts = names.iter().filter_map(|name| Some(name.split_once('=')?.0));
    let grants: Vec<String> = hosts.map(|host| format!("--connect=tcp://{host}:7000")).collect();
    let mut options: Vec<&str> = grants.iter().map(String::as_str).collect();
    options.extend(["--resolve", "looked-up.example"]);
    let names = [&names[..], &["looked-up.example=9.9.9.9"]].concat();
    for mode in modes() {
        let served = Served::start(mode, &names, &options);
        for (name, outcome) in cases {
            let (host, _) = name.split_once('=').unwrap();
            let mut client = served.connect();
            let dialled = client.ask(&format!("dial {host} 7000"));
            let reached = if dialled == "ok" { client.ask("recv") } else { dialled };
            assert_eq!(reached, outcome, "{name} {mode:?}");
            client.expect(&[(&format!("dial {host} 7001"), DENIED)]);
        }
        // To look a name up is no right to connect to it.
        let mut client = served.connect();
        client.expect(&[
            ("lookup looked-up.example", "9.9.9.9:80"),
            ("dial looked-up.example 7000", DENIED),
        ]);
    }
}

/// A grant names a host as DNS has it. Python's library makes that of a name by IDNA 2003, in the
/// guest as in CPython; a name that the contract gets is in ASCII.
#[test]
fn a_name_beyond_ascii_is_looked_up_as_python_writes_it_in_dns() {
    if !is_available() {
        return;
    }
    let names = ["xn--bcher-kva.example=8.8.8.8", "strasse.example=9.9.9.9"];
    let options =
        ["--resolve", "xn--bcher-kva.example", "--resolve", "strasse.example", "--cpu-time", "5s"];
    // Where this process looks the name up, and where the broker does.
    for mode in modes().filter(|mode| [MODES[1], MODES[4]].contains(mode)) {
        let served = Served::handler(("python", "outgoing"), mode, &names, &options);
        for (name, found) in [
            ("b\u{fc}cher.example", "8.8.8.8"),
            ("B\u{dc}CHER.example", "8.8.8.8"),
            ("xn--bcher-kva.example", "8.8.8.8"),
            // IDNA 2008 has another name for it, which can be another host.
            ("stra\u{df}e.example", "9.9.9.9"),
        ] {
            let mut client = served.connect();
            assert_eq!(client.ask(&format!("by_name {name} 80")), found, "{name} {mode:?}");
        }
        let denied = served.connect().ask("by_name m\u{fc}ller.example 80");
        assert!(denied.contains("Error"), "{denied}");
        let served = Served::start(mode, &names, &options);
        served.connect().expect(&[
            ("lookup xn--bcher-kva.example", "8.8.8.8:80"),
            ("lookup b\u{fc}cher.example", "E name or service not known"),
        ]);
    }
}
