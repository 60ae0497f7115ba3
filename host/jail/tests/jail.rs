//! Native code in the jail: what is refused, and what still works.
//!
//! Each case is a process of its own with one thread: this program again, with
//! the case in its environment. Each that is refused is also run outside of the
//! jail, where it must go differently: what the machine refuses anyway shows
//! nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::unnecessary_wraps, reason = "all cases are called alike")]
#![allow(clippy::zombie_processes, reason = "whoever waits is not to be in the jail")]

mod inside;

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};

use inside::{Case, Expected, Place};
use libtest_mimic::{Arguments, Failed, Trial};
use socketserver_jail::{Jail, Kind};

/// Says to this program which case it is to run, and where.
const CASE: &str = "SOCKETSERVER_JAIL_CASE";

fn main() -> ExitCode {
    if let Ok(case) = std::env::var(CASE) {
        inside::run(&case);
    }
    let arguments = Arguments::from_args();
    let report = Jail::probe();
    // SAFETY: it only asks.
    let root = unsafe { libc::geteuid() } == 0;
    let trials = inside::cases().map(|case| {
        let skipped = if !report.is_whole() {
            Some(format!("this machine has not all of it: {report}"))
        } else if case.place.as_root && !root {
            Some("only root can do that".to_owned())
        } else if matches!(case.expected, Expected::NoProcess)
            && !case.place.seccomp
            && root
            && !may_make_namespaces()
        {
            Some("this root may not make namespaces, and needs seccomp for it".to_owned())
        } else {
            None
        };
        let name = format!("{}::{}", case.place.name(), case.name);
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

/// How a case went.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Worked,
    Errno(i32),
    Signal(i32),
}

fn check(case: &Case, root: bool) -> Result<(), Failed> {
    let (outcome, said) = outcome(case, case.place);
    let expected = match case.expected {
        Expected::Works => Outcome::Worked,
        Expected::Fails(errno) => Outcome::Errno(errno),
        Expected::NoProcess if root => Outcome::Errno(libc::ENOMEM),
        Expected::NoProcess => Outcome::Errno(libc::EAGAIN),
        Expected::Killed(signal) => Outcome::Signal(signal),
    };
    // Then each child has a filter of its own, which refuses some in other ways.
    let own_filter = root && !may_make_namespaces() && case.place.kind == Kind::Request;
    let refused = matches!(outcome, Outcome::Errno(1..PANICKED) | Outcome::Signal(_));
    let refused_otherwise = own_filter && refused && expected != Outcome::Worked;
    if outcome != expected && !refused_otherwise {
        return Err(format!("{outcome:?}, not {expected:?}\n{said}").into());
    }
    // Without all rights the machine refuses more by itself.
    if expected != Outcome::Worked && case.differs && root && may_make_namespaces() {
        let (free, said) = self::outcome(case, Place { jailed: false, ..case.place });
        if free == expected {
            return Err(format!("outside of the jail: {free:?} too\n{said}").into());
        }
    }
    Ok(())
}

/// The exit status that Rust gives to a panic, which is no errno here.
const PANICKED: i32 = 101;

fn may_make_namespaces() -> bool {
    let own = rustix::thread::capabilities(None).unwrap();
    own.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN)
}

fn outcome(case: &Case, place: Place) -> (Outcome, String) {
    // Who is in the jail does not remove its files.
    let for_all = Permissions::from_mode(0o755);
    let directory = tempfile::Builder::new().permissions(for_all).tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CASE, format!("{} {}", place.name(), case.name)).stdin(Stdio::null());
    command.env("TMPDIR", directory.path());
    if case.logs_to_a_file {
        let log = File::create(directory.path().join("log")).unwrap();
        command.stdout(Stdio::piped()).stderr(log);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let outcome = match (output.status.code(), output.status.signal()) {
        (Some(0), _) => Outcome::Worked,
        (Some(code), _) if code > inside::BY_SIGNAL => Outcome::Signal(code - inside::BY_SIGNAL),
        (Some(errno), _) => Outcome::Errno(errno),
        (None, signal) => Outcome::Signal(signal.unwrap()),
    };
    (outcome, said)
}
