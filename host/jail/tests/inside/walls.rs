//! The walls other than seccomp, and how a caller asks for them.

use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    DumpableBehavior, PidfdFlags, Resource, Signal, WaitOptions, dumpable_behavior, getgroups,
    getrlimit, parent_process_death_signal, set_parent_process_death_signal, waitpid,
};
use seccompiler::{SeccompAction, SeccompFilter, apply_filter};
use socketserver_jail::{
    Descriptors, Jail, JailError, JailMode, Report, RequestKind, Role, ServedRequest, Transports,
};

use super::{NOBODY, Setup};

pub fn no_core_is_dumped(setup: Setup) -> Result<(), i32> {
    setup.enter();
    assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    assert_eq!(getrlimit(Resource::Memlock).maximum, Some(0));
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    assert!(rustix::thread::no_new_privs().unwrap());
    Ok(())
}

pub fn write_a_file(setup: Setup) -> Result<(), i32> {
    let mut file = File::create(in_directory("file")).unwrap();
    fs::remove_file(in_directory("file")).unwrap();
    setup.enter();
    file.write_all(b"data").unwrap();
    Ok(())
}

pub fn log(setup: Setup) -> Result<(), i32> {
    setup.enter();
    std::io::stderr().write_all(b"a line\n").unwrap();
    Ok(())
}

pub fn is_another_user(setup: Setup) -> Result<(), i32> {
    let report = setup.enter();
    assert_eq!(report.user, Some((NOBODY, NOBODY)));
    let user = rustix::process::getuid().as_raw();
    let group = rustix::process::getgid().as_raw();
    assert_eq!((user, group), (NOBODY, NOBODY));
    assert_eq!(getgroups().unwrap(), []);
    Ok(())
}

pub fn ends_with_its_parent(setup: Setup) -> Result<(), i32> {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    setup.enter();
    assert_eq!(parent_process_death_signal().unwrap(), Some(Signal::KILL));
    Ok(())
}

pub fn descriptors_are_closed(setup: Setup) -> Result<(), i32> {
    let pairs: Vec<(UnixStream, UnixStream)> =
        (0..3).map(|_| UnixStream::pair().unwrap()).collect();
    let (kept, other) = &pairs[1];
    let before = pairs[0].0.as_raw_fd();
    let after = pairs[2].1.as_raw_fd();
    // One descriptor twice, and one that stays open anyway.
    let (kept, other) = (kept.as_raw_fd(), other.as_raw_fd());
    setup.enter_keeping(&[other, kept, kept, std::io::stderr().as_raw_fd()]);
    // SAFETY: the call only reads a flag.
    let is_open = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1;
    assert_eq!([before, after].map(is_open), [false, false]);
    assert!([0, 1, 2, kept, other].into_iter().all(is_open));
    std::mem::forget(pairs);
    Ok(())
}

/// Returns a path in the directory of this process, which is removed afterwards.
fn in_directory(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// Makes two directories with a file in each.
fn make_directories() {
    for name in ["read", "write"] {
        fs::create_dir(in_directory(name)).unwrap();
        fs::write(in_directory(name).join("file"), name).unwrap();
    }
}

pub fn paths_can_be_granted(setup: Setup) -> Result<(), i32> {
    make_directories();
    let path = in_directory;
    let jail = Jail {
        read_only: vec![path("read"), "/etc/passwd".into()],
        read_write: vec![path("write")],
        ..setup.jail()
    };
    setup.enter_as(&jail, &Descriptors::All);
    assert_eq!(fs::read_to_string(path("read/file")).unwrap(), "read");
    fs::read("/etc/passwd").unwrap();
    fs::write(path("write/file"), "changed").unwrap();
    fs::write(path("write/new"), "new").unwrap();
    assert_eq!(fs::read_to_string(path("write/file")).unwrap(), "changed");
    for denied in [fs::write(path("read/file"), ""), fs::write(path("read/new"), "")] {
        assert_eq!(denied.unwrap_err().raw_os_error(), Some(libc::EACCES));
    }
    let denied = fs::read("/etc/hostname").unwrap_err();
    assert_eq!(denied.raw_os_error(), Some(libc::EACCES));
    fs::remove_file(path("write/file")).unwrap();
    Ok(())
}

/// The calls of a server that forks work. Others fail.
pub fn the_parent_is_restricted_too(_: Setup) -> Result<(), i32> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _client = TcpStream::connect(address).unwrap();
    let tasks = File::open("/proc/self/task").unwrap();
    let jail = Jail::new(JailMode::Require).prepare(Role::Request).unwrap();
    jail.restrict_parent().unwrap();
    jail.restrict_parent().unwrap();
    listener.accept().unwrap();
    rustix::fs::fstat(&tasks).unwrap();
    let refused = [
        File::open("/dev/null").map(drop),
        fs::metadata("/etc/passwd").map(drop),
        TcpListener::bind("127.0.0.1:0").map(drop),
        TcpStream::connect(address).map(drop),
        rustix::process::test_kill_process(rustix::process::getpid()).map_err(Into::into),
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EPERM));
    }
    for _ in 0..2 {
        // SAFETY: the process has one thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let request = ServedRequest { kind: RequestKind::Connection, socket: -1 };
            jail.enter(Some(request), &Descriptors::Only(&[])).unwrap();
            // SAFETY: any status is valid.
            unsafe { libc::_exit(7) }
        }
        let child = rustix::process::Pid::from_raw(child).unwrap();
        let watched = rustix::process::pidfd_open(child, PidfdFlags::empty()).unwrap();
        let mut fds = [PollFd::new(&watched, PollFlags::IN)];
        assert_eq!(poll(&mut fds, None).unwrap(), 1);
        let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(7));
    }
    Ok(())
}

/// Landlock does not restrict changes of times, so the filter must.
pub fn paths_to_read_are_not_changed(setup: Setup) -> Result<(), i32> {
    make_directories();
    let path = in_directory("read");
    let jail = Jail { read_only: vec![path.clone()], ..setup.jail() };
    setup.enter_as(&jail, &Descriptors::All);
    let file = File::open(path.join("file")).unwrap();
    assert_eq!(std::io::read_to_string(&file).unwrap(), "read");
    for denied in [
        file.set_times(fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH)),
        fs::create_dir(path.join("directory")),
        std::os::unix::fs::symlink("file", path.join("link")),
        fs::rename(path.join("file"), path.join("renamed")),
    ] {
        assert_eq!(denied.unwrap_err().raw_os_error(), Some(libc::EPERM));
    }
    Ok(())
}

/// Makes this system call fail from now on, as on an older kernel or in another jail.
fn without(call: libc::c_long, errno: i32) {
    let filter = SeccompFilter::new(
        [(call, vec![])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.cast_unsigned()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    apply_filter(&seccompiler::BpfProgram::try_from(filter.unwrap()).unwrap()).unwrap();
}

/// Root may not make namespaces, as in many containers.
pub fn without_namespaces(setup: Setup) -> Result<(), i32> {
    without(libc::SYS_unshare, libc::EPERM);
    let expected = if rustix::process::getuid().is_root() { libc::EPERM } else { libc::EAGAIN };
    setup.enter();
    // SAFETY: the process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: any status is valid.
        unsafe { libc::_exit(0) }
    }
    let error = std::io::Error::last_os_error().raw_os_error();
    assert_eq!(child, -1);
    assert_eq!(error, Some(expected));
    Ok(())
}

pub fn require_names_the_missing_wall(_: Setup) -> Result<(), i32> {
    without(libc::SYS_landlock_create_ruleset, libc::ENOSYS);
    let error = Jail::new(JailMode::Require).prepare(Role::Worker).err().unwrap();
    assert!(matches!(error, JailError::Missing { .. }), "{error:?}");
    let error = error.to_string();
    assert!(error.contains("landlock") && error.contains("--jail try"), "{error}");
    Ok(())
}

pub fn try_does_without_a_missing_wall(_: Setup) -> Result<(), i32> {
    without(libc::SYS_landlock_create_ruleset, libc::ENOSYS);
    assert!(Jail::probe().landlock.is_none() && Jail::probe().seccomp);
    let jail = Jail::new(JailMode::Try).prepare(Role::Request).unwrap();
    let report = jail.enter(None, &Descriptors::All).unwrap();
    assert_eq!(report.to_string(), "jail: no_new_privs, rlimits, seccomp; without landlock");
    // The other walls stand.
    let error = File::open("/dev/null").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    Ok(())
}

pub fn off_puts_up_no_wall(_: Setup) -> Result<(), i32> {
    let jail = Jail { user: Some((1, 1)), ..Jail::new(JailMode::Off) };
    let jail = jail.prepare(Role::Request).unwrap();
    let report = jail.enter(None, &Descriptors::Only(&[])).unwrap();
    assert_eq!(report, Report::default());
    File::open("/dev/null").unwrap();
    Ok(())
}

pub fn root_is_refused_as_user(_: Setup) -> Result<(), i32> {
    for mode in [JailMode::Require, JailMode::Try] {
        let jail = Jail { user: Some((0, 5)), transports: Transports::Both, ..Jail::new(mode) };
        let error = jail.prepare(Role::Request).err().unwrap();
        assert!(matches!(error, JailError::Root), "{error:?}");
    }
    Ok(())
}

pub fn the_report_names_every_wall(setup: Setup) -> Result<(), i32> {
    let probed = Jail::probe();
    let entered = setup.enter();
    assert!(entered.is_complete());
    assert_eq!(probed, entered);
    Ok(())
}
