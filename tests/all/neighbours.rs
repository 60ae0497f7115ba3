//! Requests that share one thread, with `--concurrency fibers`: what one of them does holds up no
//! other.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;

use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags,
    Response,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use socketserver_tests::process::{Server, TIMEOUT, wait_until};
use tempfile::TempDir;

use crate::client::{ask, expect, read_to_end};
use crate::fixture::{FIXTURE, File as Handler, Fixture, Served, serve};
use crate::wasi::WASI;

/// The options of a server that ends no request of these tests.
pub const FIBERS: &[&str] =
    &["--concurrency", "fibers", "--cpu-time", "1h", "--idle-timeout", "1h"];

/// Calls `start` with one processor, for which a server starts one thread of fibers.
fn with_one_processor<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let start = || {
            let all = sched_getaffinity(None).unwrap();
            let mut one = CpuSet::new();
            one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap());
            sched_setaffinity(None, &one).unwrap();
            start()
        };
        scope.spawn(start).join().unwrap()
    })
}

/// Serves a component in one thread of fibers.
pub fn serve_in_one_thread(text: &str, options: &[&str]) -> Served {
    let options = [FIBERS, options].concat();
    let served = with_one_processor(|| Served::start(text, &["tcp://127.0.0.1:0"], &options));
    assert!(!ask(&served.server, b"p").is_empty());
    wait_for_one_thread(&served.server);
    served
}

/// Waits until one thread runs fibers. A thread that it has just started has its name until it has
/// one of its own.
fn wait_for_one_thread(server: &Server) {
    wait_until("one thread runs fibers", || threads(server, "fibers") == 1);
}

/// Returns the number of threads with a name.
fn threads(server: &Server, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    // A thread may have ended meanwhile.
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

/// Begins a request.
pub fn begin(server: &Server, data: &[u8]) -> TcpStream {
    let mut stream = server.connect().unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(data).unwrap();
    stream
}

/// Returns true if the server has neither answered nor closed a connection.
pub fn is_in_flight(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_neighbour_of_guests_that_loop_and_call_the_host_is_answered() {
    let handle = "(call $recv (i32.const 1))
        (call $sendall (i32.const 100) (i32.const 2))
        (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 97))
          (then (loop $for_ever (br $for_ever))))
        (loop $again (drop (call $host_fileno (global.get $request))) (br $again))";
    let served = serve_in_one_thread(&Fixture { handle, ..FIXTURE }.text(), &[]);
    let busy = [b"xa", b"xa", b"xb"].map(|data| begin(&served.server, data));
    for mut stream in &busy {
        let mut ok = [0; 2];
        stream.read_exact(&mut ok).unwrap();
    }
    assert_eq!(ask(&served.server, b"-"), b"ok");
    assert!(busy.iter().all(is_in_flight));
}

#[test]
fn a_neighbour_of_guests_that_sleep_is_answered() {
    let served = serve_in_one_thread(&WASI.replace("{{fields}}", ""), &[]);
    let sleep = [b"z".as_slice(), &(1_u64 << 40).to_le_bytes()].concat();
    let asleep = [0; 4].map(|_| begin(&served.server, &sleep));
    assert_eq!(ask(&served.server, b"p"), b"k");
    assert!(asleep.iter().all(is_in_flight));
}

#[test]
fn a_neighbour_of_a_guest_that_fills_the_log_is_answered() {
    let handle = "(memory.fill (i32.const 2048) (i32.const 97) (i32.const 1024))
        (loop $again
          (call $host_log (i32.const 2) (i32.const 2048) (i32.const 1024)) (br $again))";
    let handler = Handler::new("fixture.wat", Fixture { handle, ..FIXTURE }.text().as_bytes());
    let (unread, log) = io::pipe().unwrap();
    let mut command = serve();
    command.arg(&handler.path).args(FIBERS).args(["--log-bytes", "1GiB", "--log-rate", "1000"]);
    let server = with_one_processor(|| Server::start_logging_to(log, &mut command, 1).unwrap());
    let verbose = begin(&server, b"x");
    wait_until("the log is full", || rustix::io::ioctl_fionread(&unread).unwrap() > 40_000);
    for _ in 0..3 {
        assert_eq!(ask(&server, b"-"), b"ok");
    }
    assert!(is_in_flight(&verbose));
}

/// A file whose reader the kernel stops until a test lets it go on.
struct SlowFile {
    directory: TempDir,
    stops: Fanotify,
}

impl SlowFile {
    /// Returns `None` if the test may not do that: it takes root, and a kernel that can.
    fn new(stop_at: MaskFlags) -> Option<SlowFile> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "inside").unwrap();
        let flags = InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC;
        let stops = Fanotify::init(flags, EventFFlags::O_RDONLY);
        let marked = stops.and_then(|stops| {
            let root = File::open("/").unwrap();
            stops.mark(MarkFlags::FAN_MARK_ADD, stop_at, root, Some(&path)).map(|()| stops)
        });
        match marked {
            Ok(stops) => Some(SlowFile { directory, stops }),
            Err(error) => {
                eprintln!("skipped: no test can make a file slow: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until the server has been stopped in a call on the file.
    fn stop(&self) -> FanotifyEvent {
        self.stops.read_events().unwrap().remove(0)
    }

    /// Lets all calls go on, until this process opens the file.
    fn go_on_until_the_test_opens_it(&self) {
        loop {
            let stopped = self.stop();
            self.go_on(&stopped);
            if stopped.pid().cast_unsigned() == std::process::id() {
                return;
            }
        }
    }

    /// Lets a call go on.
    fn go_on(&self, stopped: &FanotifyEvent) {
        let allowed = FanotifyResponse::new(stopped.fd().unwrap(), Response::FAN_ALLOW);
        self.stops.write_response(allowed).unwrap();
    }
}

fn serve_slow_file(file: &SlowFile, options: &[&str]) -> Served {
    let directory = format!("{}::/data", file.path().display());
    let options = [&["--dir", &directory][..], options].concat();
    let options = [FIBERS, &options].concat();
    let text = WASI.replace("{{fields}}", "");
    with_one_processor(|| Served::start(&text, &["tcp://127.0.0.1:0"], &options))
}

#[test]
fn a_neighbour_of_a_guest_that_uses_a_slow_file_is_answered() {
    let stop_at = MaskFlags::FAN_OPEN_PERM | MaskFlags::FAN_ACCESS_PERM;
    let Some(file) = SlowFile::new(stop_at) else { return };
    let served = serve_slow_file(&file, &[]);
    let mut slow = begin(&served.server, b"rfile");
    slow.shutdown(std::net::Shutdown::Write).unwrap();
    // The server opens the file, reads it, and looks for its end.
    for _ in 0..2 {
        let stopped = file.stop();
        wait_for_one_thread(&served.server);
        for _ in 0..3 {
            assert_eq!(ask(&served.server, b"p"), b"/data\nk");
        }
        assert!(is_in_flight(&slow));
        file.go_on(&stopped);
    }
    thread::scope(|scope| {
        scope.spawn(|| file.go_on_until_the_test_opens_it());
        expect(&mut slow, b"kinside");
        File::open(file.path().join("file")).unwrap();
    });
}

#[test]
fn the_wall_time_ends_a_guest_whose_file_does_not_answer() {
    let Some(file) = SlowFile::new(MaskFlags::FAN_ACCESS_PERM) else { return };
    let mut served = serve_slow_file(&file, &["--wall-time", "300ms"]);
    let mut slow = begin(&served.server, b"rfile");
    let stopped = file.stop();
    assert_eq!(read_to_end(&mut slow), b"");
    served.server.wait_for_log("wall time").unwrap();
    assert_eq!(ask(&served.server, b"p"), b"/data\nk");
    file.go_on(&stopped);
    assert_eq!(ask(&served.server, b"p"), b"/data\nk");
}
