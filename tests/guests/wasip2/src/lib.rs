//! Uses the parts of Rust's library that need WASI, prints in each way and flushes nothing. The
//! first byte from the client selects the end: `s`, `h` and `f` an error of that function, `x`
//! `exit`, `p` a panic. For `w` the handler sends facts about its environment.
use socketserver_guest::{BaseRequestHandler, Context, Result, export};
use std::collections::hash_map::RandomState;
use std::env::vars;
use std::ffi::{c_char, c_int};
use std::fs::read_dir;
use std::hash::BuildHasher;
use std::io::Write;
use std::process::exit;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

// Functions of the C library, on which Rust's library is built.
unsafe extern "C" {
    safe fn puts(text: *const c_char) -> c_int;
    safe fn atexit(function: extern "C" fn()) -> c_int;
}

extern "C" fn at_exit() {
    puts(c"atexit".as_ptr());
}

#[derive(Default)]
struct Handler {
    ends: Vec<u8>,
}

impl Handler {
    fn step(&self, initial: &[u8], name: &str) -> Result {
        println!("{name}");
        if self.ends == initial { Err(name.into()) } else { Ok(()) }
    }
}

impl BaseRequestHandler for Handler {
    fn setup(&mut self, cx: &mut Context) -> Result {
        self.ends = cx.request.recv(1)?;
        atexit(at_exit);
        self.step(b"s", "setup")
    }

    fn handle(&mut self, cx: &mut Context) -> Result {
        let begun = Instant::now();
        print!("half ");
        std::io::stdout().write_all(b"a line\n")?;
        eprintln!("an error");
        match self.ends.as_slice() {
            b"w" => {
                sleep(Duration::from_millis(1));
                let slept = begun.elapsed() >= Duration::from_millis(1);
                let since = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
                let key = RandomState::new().hash_one(1);
                let (vars, dir) = (vars().count(), read_dir("/").is_err());
                let found = format!("{slept} {since} {vars} {dir} {key}");
                cx.request.sendall(found.as_bytes())?;
            }
            b"x" => exit(3),
            b"p" => panic!("the client asked for a panic"),
            _ => {}
        }
        self.step(b"h", "handle")
    }

    fn finish(&mut self, _: &mut Context) -> Result {
        self.step(b"f", "finish")
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        print!("dropped");
    }
}

export!(Handler);
