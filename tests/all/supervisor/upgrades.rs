//! `upgrade`: the program of `up` is replaced by another one.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use socketserver_tests::build;
use socketserver_tests::load::Target;
use socketserver_tests::process::{Server, TIMEOUT, send_signal, wait_until};
use socketserver_tests::swaps::{self, datagram_handler, stream_handler};

use super::{addresses, answers, ask, configuration, order, pid, status, table, wait_for_answer};
use crate::attacks::SetWhenDropped;
use crate::client::expect;
use crate::configuration::Folder;
use crate::fixture::host;
use crate::systemd::{Manager, Service};

/// The file of the program in a folder, which is a link until a test replaces it.
fn program(folder: &Folder) -> PathBuf {
    let path = folder.path("program");
    if path.symlink_metadata().is_err() {
        symlink(build::host().unwrap(), &path).unwrap();
    }
    path
}

/// A command that runs the program in a folder.
fn command(folder: &Folder) -> Command {
    let of_host = host();
    let mut command = Command::new(program(folder));
    command.envs(of_host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

fn up(folder: &Folder, sockets: usize) -> Server {
    Server::start(command(folder).arg("up").arg(folder.path("c.toml")), sockets).unwrap()
}

fn upgrade(folder: &Folder) -> Output {
    order(folder, &["upgrade"])
}

/// Replaces the program by a script that ends with running it.
fn write_script(folder: &Folder, lines: &str) {
    let real = build::host().unwrap().display();
    folder.write("script", format!("#!/bin/sh\n{lines}\nexec {real} \"$@\"\n"));
    fs::set_permissions(folder.path("script"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::rename(folder.path("script"), folder.path("program")).unwrap();
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// A connection of which the handler `echo` has sent back a byte.
fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(b"1").unwrap();
    expect(&mut stream, b"1");
    stream
}

/// Sends another byte on a connection, which then ends well.
fn finish(mut stream: TcpStream) {
    stream.write_all(b"2").unwrap();
    expect(&mut stream, b"2");
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn no_request_is_lost_while_the_program_is_replaced() {
    for mode in ["concurrency = \"threading\"", "concurrency = \"forking\"", "workers = 2"] {
        let folder = Folder::new();
        let write = |letter| {
            folder.write("stream.wat", stream_handler(letter));
            folder.write("datagram.wat", datagram_handler(letter));
        };
        write('a');
        folder.write("c.toml", swaps::configuration(&folder.path(""), mode));
        let mut server = up(&folder, 4);
        server.wait_for_log("all 2 handlers serve").unwrap();
        let targets: Vec<_> =
            server.endpoints().iter().map(|endpoint| Target::parse(endpoint).unwrap()).collect();
        let end = AtomicBool::new(false);
        let current = AtomicUsize::new('a' as usize);
        // The answers of the last version to each client.
        let answered = [const { AtomicUsize::new(0) }; 4];
        thread::scope(|scope| {
            // If a check fails, the clients end, too.
            let _end = SetWhenDropped(&end);
            for (target, new) in targets.iter().zip(&answered) {
                let (end, current) = (&end, &current);
                scope.spawn(move || {
                    let client = swaps::client(target).unwrap();
                    while !end.load(Ordering::Relaxed) {
                        let letter = swaps::ask(&client)
                            .unwrap_or_else(|error| panic!("{target:?}: {error:#}"));
                        if letter as usize == current.load(Ordering::Relaxed) {
                            new.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            for letter in ['b', 'c'] {
                write(letter);
                current.store(letter as usize, Ordering::Relaxed);
                let before: Vec<_> = answered.iter().map(|it| it.load(Ordering::Relaxed)).collect();
                let output = upgrade(&folder);
                assert!(output.status.success(), "{output:?}");
                server.wait_for_log("has taken over").unwrap();
                wait_until("the new version serves each client", || {
                    let counts = answered.iter().map(|it| it.load(Ordering::Relaxed));
                    counts.zip(&before).all(|(now, before)| now > before + 5)
                });
            }
        });
        assert!(server.stop().unwrap().success());
    }
}

/// The process stays, and so do the requests, the drained handlers, the sockets of all kinds and
/// the clients that wait at the control socket.
#[test]
fn another_program_takes_over_all_that_there_is() {
    let folder = Folder::new();
    let [one, two] = addresses();
    folder.copy("echo", "h.wasm");
    let more = "grace = \"1h\"";
    let tables = [table("one", "h.wasm", one, more), table("two", "h.wasm", two, more)];
    let text =
        configuration(&tables).replace("control =", "metrics = \"unix://metrics\"\ncontrol =");
    let text = text.replace("unix://", &format!("unix://{}/", folder.path("").display()));
    folder.write("c.toml", text);
    let mut server = up(&folder, 2);
    server.wait_for_log("all 2 handlers serve").unwrap();
    let pids = ["one", "two"].map(|name| pid(&folder, name).unwrap());
    let streams = [one, two].map(connect);
    let mut drain = host();
    let drain = drain.args(["drain", "two", "--control"]).arg(folder.path("control"));
    let mut drain = drain.spawn().unwrap();
    wait_until("it is drained", || status(&folder)["handlers"][1]["state"] == "drained");
    fs::copy(build::host().unwrap(), folder.path("copy")).unwrap();
    fs::rename(folder.path("copy"), folder.path("program")).unwrap();
    // As after a reload: a handler is drained, which is said.
    let output = upgrade(&folder);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the handler `two` is drained"), "{said}");
    let executable = fs::read_link(format!("/proc/{}/exe", server.pid())).unwrap();
    assert_eq!(executable, folder.path("program").canonicalize().unwrap());
    assert_ne!(pid(&folder, "one"), Some(pids[0]));
    assert_eq!(ask(one), Ok("x".to_owned()));
    assert_eq!(status(&folder)["handlers"][1]["state"], "drained");
    assert_eq!(status(&folder)["ending"], 2);
    let mut metrics = UnixStream::connect(folder.path("metrics")).unwrap();
    metrics.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    metrics.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("503"), "{answer}");
    let before = descriptors(server.pid());
    for _ in 0..2 {
        assert_eq!(upgrade(&folder).status.code(), Some(1));
        wait_until("the process before has ended", || status(&folder)["ending"] == 2);
    }
    wait_until("no descriptor is left over", || descriptors(server.pid()) <= before);
    assert!(drain.try_wait().unwrap().is_none());
    streams.into_iter().for_each(finish);
    assert!(drain.wait().unwrap().success());
    wait_until("the first processes have ended", || {
        status(&folder)["ending"] == 0
            && pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    });
    assert!(order(&folder, &["drain", "two", "--undo"]).status.success());
    assert_eq!(ask(two), Ok("x".to_owned()));
    assert!(order(&folder, &["stop"]).status.success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn a_program_that_cannot_take_over_changes_nothing() {
    let folder = Folder::new();
    let [one, _] = addresses();
    folder.write("one.wat", answers('a'));
    let good = configuration(&[table("one", "one.wat", one, "")]);
    folder.write("c.toml", &good);
    let mut server = up(&folder, 1);
    server.wait_for_log("all 1 handlers serve").unwrap();
    let before = pid(&folder, "one");
    let mut fails = |why: &str| {
        let output = upgrade(&folder);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
        server.wait_for_log("the program stays as it was: ").unwrap();
        assert_eq!(pid(&folder, "one"), before);
        assert_eq!(ask(one), Ok("a".to_owned()));
    };
    write_script(&folder, "echo it is broken >&2; exit 1");
    fails("its trial ended with exit status: 1: it is broken");
    write_script(&folder, "kill -SEGV $$");
    fails("its trial ended with signal: 11");
    // A program of a time before upgrades.
    write_script(&folder, "set -- up --no-such-option");
    fails("its trial ended with exit status: 2: error: unexpected argument");
    write_script(&folder, "exec </dev/null");
    fails("`up` starts this command at an upgrade");
    // Much more than it may say.
    write_script(&folder, "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1");
    fails("its trial ended with exit status: 1: xxx");
    folder.write("program", "no program");
    fails("cannot start `");
    fs::remove_file(folder.path("program")).unwrap();
    fails("cannot find the program `");
    program(&folder);
    folder.write("c.toml", good.replace("source", "sauce"));
    fails("`sauce` is no key of [handler.one]");
    folder.write("c.toml", &good);
    folder.write("one.wat", "(component");
    fails("one: ");
    folder.write("one.wat", answers('b'));
    assert!(upgrade(&folder).status.success());
    wait_for_answer(one, "b");
    assert!(server.stop().unwrap().success());
}

/// The server serves on meanwhile, and its end is the end of the trial.
#[test]
fn a_program_that_hangs_in_its_trial_keeps_nothing_from_going_on() {
    let folder = Folder::new();
    let [one, _] = addresses();
    folder.write("one.wat", answers('a'));
    folder.write("c.toml", configuration(&[table("one", "one.wat", one, "")]));
    let mut server = up(&folder, 1);
    server.wait_for_log("all 1 handlers serve").unwrap();
    mkfifo(&folder.path("pid"), Mode::S_IRWXU).unwrap();
    // The process that hangs is a child of the trial.
    let pid = folder.path("pid");
    write_script(&folder, &format!("sleep 3600 & echo $! >{}; wait", pid.display()));
    server.signal("USR2").unwrap();
    let hangs = fs::read_to_string(pid).unwrap();
    // One that waits for the same trial.
    let mut waits = host();
    let waits = waits.arg("upgrade").arg("--control").arg(folder.path("control"));
    let waits = waits.stderr(Stdio::piped()).spawn().unwrap();
    folder.write("one.wat", answers('b'));
    assert!(order(&folder, &["reload"]).status.success());
    wait_for_answer(one, "b");
    assert!(server.stop().unwrap().success());
    let output = waits.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let hangs = format!("/proc/{}/exe", hangs.trim());
    wait_until("the trial has ended", || !Path::new(&hangs).exists());
}

/// A script between two programs. It tells when it runs, and waits until it may go on.
struct Between {
    begun: PathBuf,
    go: PathBuf,
}

impl Between {
    fn new(folder: &Folder) -> Between {
        let between = Between { begun: folder.path("begun"), go: folder.path("go") };
        let Between { begun, go } = &between;
        for path in [begun, go] {
            mkfifo(path, Mode::S_IRWXU).unwrap();
        }
        let (begun, go) = (begun.display(), go.display());
        let waits = format!(": >{begun}; read x <{go}");
        write_script(folder, &format!("case \"$*\" in *--try*) ;; *) {waits} ;; esac"));
        between
    }

    fn wait(&self) {
        // Opening waits for the other end.
        assert_eq!(File::open(&self.begun).unwrap().read(&mut [0]).unwrap(), 0);
    }

    fn go_on(&self) {
        File::options().write(true).open(&self.go).unwrap().write_all(b"\n").unwrap();
    }
}

#[test]
fn what_happens_between_the_programs_is_not_lost() {
    let folder = Folder::new();
    let [one, two] = addresses();
    folder.copy("echo", "h.wasm");
    let more = "grace = \"1h\"";
    let tables = [table("one", "h.wasm", one, more), table("two", "h.wasm", two, more)];
    folder.write("c.toml", configuration(&tables));
    let mut server = up(&folder, 2);
    server.wait_for_log("all 2 handlers serve").unwrap();
    let between = Between::new(&folder);
    let first = pid(&folder, "one").unwrap();
    let stream = connect(two);
    // A word of which a part comes before, and one that comes between.
    let mut parts = UnixStream::connect(folder.path("control")).unwrap();
    parts.write_all(b"sta").unwrap();
    server.signal("USR2").unwrap();
    between.wait();
    parts.write_all(b"tus\n").unwrap();
    let mut whole = UnixStream::connect(folder.path("control")).unwrap();
    whole.write_all(b"status\n").unwrap();
    // Clients are served, and those of a process that has died wait for another.
    assert_eq!(ask(two), Ok("x".to_owned()));
    send_signal(first, "KILL").unwrap();
    wait_until("the process has ended", || {
        let status = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
        status.contains("State:\tZ")
    });
    let mut waits = TcpStream::connect(one).unwrap();
    waits.write_all(b"1").unwrap();
    // A signal that ends the server does so when the new program has taken over.
    server.signal("TERM").unwrap();
    between.go_on();
    server.wait_for_log("has taken over").unwrap();
    for mut client in [parts, whole] {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("{\"handlers\":[{\"name\":\"one\""), "{answer}");
    }
    server.wait_for_log("ending: handlers finish what they have begun").unwrap();
    finish(stream);
    assert_eq!(server.wait().unwrap().code(), Some(0));
    drop(waits);
}

/// As without a supervisor.
#[test]
fn handlers_finish_their_requests_if_a_program_fails_that_has_taken_over() {
    let folder = Folder::new();
    let [one, _] = addresses();
    folder.copy("echo", "h.wasm");
    folder.write("c.toml", configuration(&[table("one", "h.wasm", one, "grace = \"1h\"")]));
    let mut server = up(&folder, 1);
    server.wait_for_log("all 1 handlers serve").unwrap();
    let stream = connect(one);
    write_script(&folder, "case \"$*\" in *--try*) ;; *) exit 3 ;; esac");
    let output = upgrade(&folder);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    wait_until("the socket is closed", || ask(one).is_err());
    finish(stream);
    assert_eq!(server.wait().unwrap().code(), Some(3));
}

#[test]
fn systemd_keeps_its_sockets_and_learns_of_an_upgrade() {
    let folder = Folder::new();
    folder.write("one.wat", answers('a'));
    let table = "[handler.one]\nsource = \"one.wat\"\nbind = \"systemd://web\"\n";
    folder.write("c.toml", configuration(&[table.to_owned()]));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let manager = Manager::at_path();
    let configuration = folder.path("c.toml").display().to_string();
    let mut service = Service::new(&[("web", listener.into())], &["up", &configuration]);
    service.command.env("NOTIFY_SOCKET", &manager.address);
    // A sign of life in 2 s at the most, so that those of an upgrade do not fill the queue of the
    // manager, which reads only when the test does.
    service.command.env("WATCHDOG_USEC", "8000000");
    let mut server = service.start(1);
    manager.wait_for("READY=1");
    folder.write("one.wat", answers('b'));
    assert!(upgrade(&folder).status.success());
    let reloading = manager.wait_for("RELOADING=1");
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    wait_for_answer(address, "b");
    // It stays open even while no handler serves.
    assert!(order(&folder, &["drain", "one"]).status.success());
    let waits = TcpStream::connect(address).unwrap();
    assert!(order(&folder, &["drain", "--undo"]).status.success());
    drop(waits);
    wait_for_answer(address, "b");
    assert!(server.stop().unwrap().success());
}
