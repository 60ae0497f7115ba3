//! A machine and processes that fail `up`.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, geteuid, pidfd_getfd, pidfd_open};
use socketserver_tests::process::{Server, TIMEOUT, send_signal, wait_until};

use super::{addresses, answers, ask, configuration, order, pid, status, table, up};
use crate::client::expect;
use crate::configuration::Folder;
use crate::fixture::host;

/// Returns the socket on which a process of a handler reports to `up`. It has no address, so
/// only these two have it; a test has to take it out of the process.
fn reports(process: u32) -> Option<UnixDatagram> {
    let process = Pid::from_raw(process.cast_signed()).unwrap();
    let pidfd = pidfd_open(process, PidfdFlags::empty()).unwrap();
    (0..64).find_map(|fd| {
        let fd = pidfd_getfd(&pidfd, fd, PidfdGetfdFlags::empty()).ok()?;
        let kind = (sockopt::socket_domain(&fd).ok()?, sockopt::socket_type(&fd).ok()?);
        (kind == (AddressFamily::UNIX, SocketType::DGRAM)).then(|| fd.into())
    })
}

#[test]
fn a_process_that_reports_garbage_is_served_on_and_harms_no_other() {
    let folder = Folder::new();
    let [one, two] = addresses();
    folder.write("one.wat", answers('a'));
    folder.write("two.wat", answers('b'));
    let tables = [table("one", "one.wat", one, ""), table("two", "two.wat", two, "")];
    folder.write("c.toml", configuration(&tables));
    let mut server = up(&folder, 2);
    server.wait_for_log("all 2 handlers serve").unwrap();
    let before = ["one", "two"].map(|name| pid(&folder, name));
    let Some(reports) = reports(before[0].unwrap()) else {
        println!("skipped: this machine takes no descriptors out of processes");
        return;
    };
    reports.set_nonblocking(true).unwrap();
    let long = "x".repeat(100_000);
    for report in [
        "",
        "\n\n=\n==\0",
        "READY=0\nREADY=2\nREADY",
        "READY=1\nREADY=1",
        "MAINPID=1\nERRNO=9\nBUSERROR=x\nWATCHDOG=trigger\nFDSTORE=1",
        "EXTEND_TIMEOUT_USEC=99999999999999999999999\nEXTEND_TIMEOUT_USEC=-1",
        "STATUS=\u{1b}[31m\u{202e}red\r",
        &long,
    ] {
        let _ = reports.send(report.as_bytes());
        let _ = reports.send(&[report.as_bytes(), &[0xff, 0xc0]].concat());
    }
    wait_until("the reports are heard", || {
        !status(&folder)["handlers"][0]["status"].as_str().unwrap().starts_with("serv")
    });
    let shown = status(&folder)["handlers"][0]["status"].as_str().unwrap().to_owned();
    assert!(shown.contains("red") && !shown.contains(['\u{1b}', '\u{202e}', '\r']), "{shown}");
    // As many as there is room for, again and again, while others are served.
    let floods = std::thread::spawn(move || {
        let mut sent = 0;
        while sent < 500 {
            match reports.send(b"STATUS=flood\n") {
                Ok(_) => sent += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    });
    while !floods.is_finished() {
        assert_eq!(ask(two), Ok("b".to_owned()));
        assert_eq!(status(&folder)["handlers"][1]["state"], "serving");
    }
    floods.join().unwrap();
    assert_eq!(["one", "two"].map(|name| pid(&folder, name)), before);
    assert_eq!(ask(one), Ok("a".to_owned()));
    assert!(server.stop().unwrap().success());
}

/// Runs the rest of its arguments with a small disk of its own at the first, to which its log goes.
const WITH_DISK: &str =
    "mount -t tmpfs -o size=256k none \"$0\" && disk=$0 && exec \"$@\" 2>\"$disk/log\"";

fn with_disk(disk: &Path, program: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args((!geteuid().is_root()).then_some("--map-root-user"));
    command.args(["--mount", "sh", "-c", WITH_DISK]).arg(disk).arg(program.get_program());
    command.args(program.get_args());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    for name in ["XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "TMPDIR", "HOME"] {
        command.env(name, disk);
    }
    command
}

#[test]
fn a_full_disk_keeps_no_handler_from_being_served_replaced_or_started_anew() {
    let folder = Folder::new();
    let [one, _] = addresses();
    let disk = folder.path("disk");
    fs::create_dir(&disk).unwrap();
    if !with_disk(&disk, &Command::new("true")).status().unwrap().success() {
        println!("skipped: this machine has no disk of its own for a test");
        return;
    }
    folder.write("one.wat", answers('a'));
    let text = configuration(&[table("one", "one.wat", one, "")]);
    let text = text.replace("\"control\"", "\"disk/control\"\nlog-level = \"debug\"");
    folder.write("c.toml", text);
    let mut program = host();
    program.arg("up").arg(folder.path("c.toml"));
    let mut command = with_disk(&disk, &program);
    let mut server = Server::start_logging_to(Stdio::null(), &mut command, 1).unwrap();
    wait_until("it serves", || ask(one) == Ok("a".to_owned()));
    // Nothing else sees that disk.
    let inside = format!("/proc/{}/root{}", server.pid(), disk.display());
    let inside = Path::new(&inside);
    let mut fill = File::create(inside.join("fill")).unwrap();
    let error = loop {
        if let Err(error) = fill.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let order = |word: &str| {
        let mut command = host();
        command.args([word, "--json", "--control"]).arg(inside.join("control")).output().unwrap()
    };
    let pid = || {
        let status = serde_json::from_slice::<serde_json::Value>(&order("status").stdout).unwrap();
        status["handlers"][0]["pid"].as_u64().map(|pid| u32::try_from(pid).unwrap())
    };
    // It has not been compiled before, and cannot be kept.
    folder.write("one.wat", answers('b'));
    let output = order("reload");
    assert!(output.status.success(), "{output:?}");
    wait_until("the new handler serves", || ask(one) == Ok("b".to_owned()));
    let first = pid().unwrap();
    send_signal(first, "KILL").unwrap();
    wait_until("another process serves", || pid().is_some_and(|pid| pid != first));
    assert_eq!(ask(one), Ok("b".to_owned()));
    assert!(server.stop().unwrap().success());
}

/// The time of day jumps by twenty years at each look.
const JUMPS: &str = "
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
static int (*real)(clockid_t, struct timespec *);
static unsigned looks;
__attribute__((constructor)) static void find(void) { real = dlsym(RTLD_NEXT, \"clock_gettime\"); }
int clock_gettime(clockid_t id, struct timespec *now) {
    int result = real(id, now);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
        now->tv_sec += looks++ % 2 ? 315360000 : -315360000;
    return result;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec time;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &time);
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *now) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    if (now) *now = time.tv_sec;
    return time.tv_sec;
}
";

#[test]
fn a_clock_that_jumps_changes_no_limit_and_no_pause() {
    let folder = Folder::new();
    folder.write("jumps.c", JUMPS);
    let library = folder.path("jumps.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(folder.path("jumps.c"));
    if !compiler.arg("-ldl").status().is_ok_and(|status| status.success()) {
        println!("skipped: there is no C compiler");
        return;
    }
    let [one, two] = addresses();
    folder.copy("echo", "h.wasm");
    let tables = [
        table("one", "h.wasm", one, "idle-timeout = \"1h\"\nwall-time = \"1h\"\ngrace = \"1h\""),
        table("two", "h.wasm", two, "idle-timeout = \"100ms\"\nconcurrency = \"forking\""),
    ];
    folder.write("c.toml", configuration(&tables));
    let mut command = host();
    command.arg("up").arg(folder.path("c.toml")).env("LD_PRELOAD", &library);
    let mut server = Server::start(&mut command, 2).unwrap();
    server.wait_for_log("all 2 handlers serve").unwrap();
    let first = pid(&folder, "one").unwrap();
    let maps = fs::read_to_string(format!("/proc/{first}/maps")).unwrap();
    assert!(maps.contains("jumps.so"), "{maps}");
    let connect = |address| {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    };
    let mut stream = connect(one);
    for _ in 0..3 {
        stream.write_all(b"1").unwrap();
        expect(&mut stream, b"1");
        // The other one is cut off, as its limit says.
        let mut idle = connect(two);
        let _ = idle.read(&mut [0]);
    }
    // The old process has an hour, and goes on.
    folder.copy("upper", "h.wasm");
    assert!(order(&folder, &["reload"]).status.success());
    wait_until("the new handler serves", || ask(one) == Ok("X".to_owned()));
    stream.write_all(b"2").unwrap();
    expect(&mut stream, b"2");
    drop(stream);
    // The pause is that of each first failure.
    let second = pid(&folder, "one").unwrap();
    send_signal(second, "KILL").unwrap();
    server.wait_for_log("the handler `one` is started anew in 100ms").unwrap();
    assert_eq!(ask(one), Ok("X".to_owned()));
    assert!(server.stop().unwrap().success());
}
