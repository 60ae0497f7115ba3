//! Native code in the jail: what the jail refuses, and what still works.
//!
//! Each case runs in a process of its own with one thread: this program again, with the case
//! in its environment. A case that the jail refuses also runs outside of the jail, where its
//! outcome must differ: a refusal of the machine itself proves nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::unnecessary_wraps, reason = "all cases have one signature")]
#![allow(clippy::zombie_processes, reason = "the process that waits must not be in the jail")]

mod inside;

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};

use inside::{Case, Expected, Setup};
use libtest_mimic::{Arguments, Failed, Trial};
use socketserver_jail::{Jail, Role};

/// Names the setup and the case that this program runs.
const CASE: &str = "SOCKETSERVER_JAIL_CASE";

fn main() -> ExitCode {
    if let Ok(case) = std::env::var(CASE) {
        inside::run(&case);
    }
    let arguments = Arguments::from_args();
    let report = Jail::probe();
    // SAFETY: the call has no arguments.
    let root = unsafe { libc::geteuid() } == 0;
    let trials = inside::cases().map(|case| {
        let skipped = if !report.is_complete() {
            Some(format!("this machine lacks walls: {report}"))
        } else if case.setup.as_root && !root {
            Some("only root can run it".to_owned())
        } else if matches!(case.expected, Expected::NoProcess)
            && !case.setup.seccomp
            && root
            && !may_make_namespaces()
        {
            Some("root without namespaces needs seccomp".to_owned())
        } else {
            None
        };
        let name = format!("{}::{}", case.setup.name(), case.name);
        let kind = skipped.as_ref().map_or("", |_| "skipped");
        if let Some(why) = &skipped {
            eprintln!("{name} is skipped: {why}");
        }
        Trial::test(name, move || check(case, root))
            .with_ignored_flag(skipped.is_some())
            .with_kind(kind)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The outcome of a case.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Worked,
    Errno(i32),
    Signal(i32),
}

fn check(case: &Case, root: bool) -> Result<(), Failed> {
    let (outcome, stderr) = outcome(case, case.setup);
    let expected = match case.expected {
        Expected::Works => Outcome::Worked,
        Expected::Fails(errno) => Outcome::Errno(errno),
        Expected::NoProcess if root => Outcome::Errno(libc::ENOMEM),
        Expected::NoProcess => Outcome::Errno(libc::EAGAIN),
        Expected::Killed(signal) => Outcome::Signal(signal),
    };
    // Then each child has a filter of its own, which refuses some calls in other ways.
    let own_filter = root && !may_make_namespaces() && case.setup.role == Role::Request;
    let refused = matches!(outcome, Outcome::Errno(1..PANICKED) | Outcome::Signal(_));
    let refused_by_own_filter = own_filter && refused && expected != Outcome::Worked;
    if outcome != expected && !refused_by_own_filter {
        return Err(format!("{outcome:?}, not {expected:?}\n{stderr}").into());
    }
    // With fewer rights the machine refuses more by itself.
    if expected != Outcome::Worked && case.differs && root && may_make_namespaces() {
        let (free, stderr) = self::outcome(case, Setup { jailed: false, ..case.setup });
        if free == expected {
            return Err(format!("outside of the jail: {free:?} too\n{stderr}").into());
        }
    }
    Ok(())
}

/// The exit status of a Rust program that panicked. No case expects this errno.
const PANICKED: i32 = 101;

fn may_make_namespaces() -> bool {
    let own = rustix::thread::capabilities(None).unwrap();
    own.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN)
}

fn outcome(case: &Case, setup: Setup) -> (Outcome, String) {
    // A jailed process cannot remove its files.
    let for_all = Permissions::from_mode(0o755);
    let directory = tempfile::Builder::new().permissions(for_all).tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CASE, format!("{} {}", setup.name(), case.name)).stdin(Stdio::null());
    command.env("TMPDIR", directory.path());
    if case.logs_to_a_file {
        let log = File::create(directory.path().join("log")).unwrap();
        command.stdout(Stdio::piped()).stderr(log);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let outcome = match (output.status.code(), output.status.signal()) {
        (Some(0), _) => Outcome::Worked,
        (Some(code), _) if code > inside::BY_SIGNAL => Outcome::Signal(code - inside::BY_SIGNAL),
        (Some(errno), _) => Outcome::Errno(errno),
        (None, signal) => Outcome::Signal(signal.unwrap()),
    };
    (outcome, stderr)
}
