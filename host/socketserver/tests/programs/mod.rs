//! Tests of servers that fork, which need a process with one thread: each test starts a
//! server program and connects to it.
//!
//! The program is the binary of the test. An environment variable names the program, which
//! runs before the harness starts a thread.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod client;
mod driver;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use libtest_mimic::{Arguments, Trial};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use socketserver::Endpoint;

use crate::common::{is_blocked, next, wait_until};
pub use client::*;
pub use driver::*;

/// The variable that names the program to run.
const PROGRAM: &str = "SOCKETSERVER_TEST_PROGRAM";

/// The code of a program, which takes its arguments.
pub type Main = fn(&[String]);

/// Declares the tests with these names.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        vec![$(libtest_mimic::Trial::test(stringify!($name), || { $name(); Ok(()) })),*]
    };
}
pub(crate) use tests;

/// The `main` of a test: runs the program that the environment names, or the
/// tests.
pub fn run(programs: &[(&str, Main)], tests: Vec<Trial>) -> ExitCode {
    let Ok(name) = env::var(PROGRAM) else {
        return libtest_mimic::run(&Arguments::from_args(), tests).exit_code();
    };
    let (_, main) = programs.iter().find(|(program, _)| *program == name).unwrap();
    main(&env::args().skip(1).collect::<Vec<_>>());
    ExitCode::SUCCESS
}

/// A server program, which is killed with its children when this is dropped.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Receiver<String>,
    endpoints: Vec<Endpoint>,
    /// Set if it was waited for, so that its pid may belong to another process.
    is_over: bool,
}

/// Returns the lines of a pipe.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

impl Program {
    /// Starts the program and waits until it listens.
    pub fn start(name: &str, arguments: &[&str]) -> Program {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(arguments)
            .env(PROGRAM, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut program = Program {
            stdin: child.stdin.take(),
            lines: lines(child.stdout.take().unwrap()),
            errors: lines(child.stderr.take().unwrap()),
            endpoints: Vec::new(),
            is_over: false,
            child,
        };
        loop {
            let line = program.line();
            match line.split_once(' ') {
                Some(("listening", endpoint)) => program.endpoints.push(endpoint.parse().unwrap()),
                _ => break assert_eq!(line, "ready"),
            }
        }
        program
    }

    /// Starts a server made by [`server`], which serves until it gets an order.
    pub fn serving(arguments: &[&str]) -> Program {
        let mut program = Program::start("server", arguments);
        program.tell("serve");
        program
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoints[0]
    }

    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Gives it an order. A loop that runs ends when an order comes.
    pub fn tell(&mut self, order: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    /// Ends the orders: the program drops its server, and ends.
    pub fn drop_orders(&mut self) {
        drop(self.stdin.take());
    }

    /// Returns the next line that it or one of its children prints.
    pub fn line(&self) -> String {
        next(&self.lines)
    }

    /// Returns the next line of its standard error.
    pub fn error_line(&self) -> String {
        next(&self.errors)
    }

    /// Gives it an order and waits for these lines.
    pub fn expect(&mut self, order: &str, lines: &[&str]) {
        self.tell(order);
        assert_eq!(lines.iter().map(|_| self.line()).collect::<Vec<_>>(), lines, "{order}");
    }

    /// Ends its loop, and closes the server.
    pub fn close(&mut self) {
        self.expect("close", &["served ok", "closed"]);
    }

    /// Returns true if it has printed no other line.
    pub fn is_silent(&self) -> bool {
        self.lines.try_recv().is_err()
    }

    pub fn wait_until_blocked(&self) {
        let task = format!("{0}/task/{0}", self.pid());
        wait_until("the program waits", || is_blocked(&task));
    }

    /// Returns its children, with those that have ended and are not reaped.
    pub fn children(&self) -> Vec<i32> {
        children(self.pid())
    }

    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Ends it, which must succeed, and returns the rest of its output.
    pub fn end(mut self) -> Vec<String> {
        drop(self.stdin.take());
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(crate::common::WAIT) {
            rest.push(line);
        }
        let status = self.child.wait().unwrap();
        self.is_over = true;
        assert!(status.success(), "{status}");
        rest
    }

    /// Kills it without its children, and waits until it is dead.
    pub fn kill(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::KILL).unwrap();
        // It is reaped when this is dropped: until then its pid must stay in use.
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            self.errors.try_iter().for_each(|line| eprintln!("{line}"));
        }
        if !self.is_over {
            // It leads a process group with all its children.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Returns the children of a process with one thread.
pub fn children(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// Returns the fields of `/proc/PID/stat` that follow the name, if the process exists.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// Returns true if a process has ended, reaped or not.
pub fn has_ended(pid: i32) -> bool {
    stat(pid).is_none_or(|fields| ["Z", "X"].contains(&&fields[0][..]))
}

pub fn wait_for_end(pid: i32) {
    wait_until("the process has ended", || has_ended(pid));
}

/// Returns the wait status of a process that has ended and is not reaped yet.
pub fn end_of(pid: i32) -> i32 {
    let mut end = None;
    wait_until("the process is a zombie", || {
        let fields = stat(pid).filter(|fields| fields[0] == "Z");
        end = fields.map(|fields| fields.last().unwrap().parse().unwrap());
        end.is_some()
    });
    end.unwrap()
}

/// Parses the pid that a client received.
pub fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}
