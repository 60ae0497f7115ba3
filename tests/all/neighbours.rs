//! Requests that share one thread, with `--concurrency fibers`: what one of them does holds up no
//! other.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use socketserver_tests::process::{Server, TIMEOUT, wait_until, with_one_processor};
use socketserver_tests::slow_file::{SlowFile, StopAt};

use crate::client::{ask, expect, read_to_end};
use crate::fixture::{FIXTURE, File as Handler, Fixture, Served, serve};
use crate::wasi::WASI;

/// The options of a server that ends no request of these tests.
pub const FIBERS: &[&str] =
    &["--concurrency", "fibers", "--cpu-time", "1h", "--idle-timeout", "1h"];

/// Serves a component in one thread of fibers.
pub fn serve_in_one_thread(text: &str, options: &[&str]) -> Served {
    let options = [FIBERS, options].concat();
    let start = || Ok(Served::start(text, &["tcp://127.0.0.1:0"], &options));
    let served = with_one_processor(start).unwrap();
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
    let start = || Server::start_logging_to(log, &mut command, 1);
    let server = with_one_processor(start).unwrap();
    let verbose = begin(&server, b"x");
    wait_until("the log is full", || rustix::io::ioctl_fionread(&unread).unwrap() > 40_000);
    for _ in 0..3 {
        assert_eq!(ask(&server, b"-"), b"ok");
    }
    assert!(is_in_flight(&verbose));
}

/// Returns `None` if this test may not make a file slow.
fn slow_file(stop_at: StopAt) -> Option<SlowFile> {
    SlowFile::new(stop_at).inspect_err(|error| eprintln!("skipped: {error:#}")).ok()
}

fn serve_slow_file(file: &SlowFile, options: &[&str]) -> Served {
    let directory = format!("{}::/data", file.directory().display());
    let options = [&["--dir", &directory][..], options].concat();
    let options = [FIBERS, &options].concat();
    let text = WASI.replace("{{fields}}", "");
    with_one_processor(|| Ok(Served::start(&text, &["tcp://127.0.0.1:0"], &options))).unwrap()
}

#[test]
fn a_neighbour_of_a_guest_that_uses_a_slow_file_is_answered() {
    let Some(file) = slow_file(StopAt::OpenAndRead) else { return };
    let served = serve_slow_file(&file, &[]);
    let mut slow = begin(&served.server, b"rfile");
    slow.shutdown(std::net::Shutdown::Write).unwrap();
    // The server opens the file, reads it, and looks for its end.
    for _ in 0..2 {
        let stopped = file.stop().unwrap();
        wait_for_one_thread(&served.server);
        for _ in 0..3 {
            assert_eq!(ask(&served.server, b"p"), b"/data\nk");
        }
        assert!(is_in_flight(&slow));
        file.go_on(&stopped).unwrap();
    }
    thread::scope(|scope| {
        scope.spawn(|| file.go_on_until_this_process_opens_it().unwrap());
        expect(&mut slow, b"kinside");
        File::open(file.directory().join("file")).unwrap();
    });
}

#[test]
fn the_wall_time_ends_a_guest_whose_file_does_not_answer() {
    let Some(file) = slow_file(StopAt::Read) else { return };
    let mut served = serve_slow_file(&file, &["--wall-time", "300ms"]);
    let mut slow = begin(&served.server, b"rfile");
    let stopped = file.stop().unwrap();
    assert_eq!(read_to_end(&mut slow), b"");
    served.server.wait_for_log("wall time").unwrap();
    assert_eq!(ask(&served.server, b"p"), b"/data\nk");
    file.go_on(&stopped).unwrap();
    assert_eq!(ask(&served.server, b"p"), b"/data\nk");
}
