//! The process in the jail.

mod calls;
mod compiling;
mod serving;
mod walls;

use std::os::fd::BorrowedFd;

use libc::{EACCES, EAGAIN, EMFILE, ENOSYS, EPERM, SIGABRT, SIGSYS, SIGXCPU, SIGXFSZ};
use socketserver_jail::{Descriptors, Jail, Kind, Mode, Report, Serves};

/// One thing that native code tries.
pub struct Case {
    pub name: &'static str,
    pub place: Place,
    pub expected: Expected,
    /// Whether it goes differently outside of the jail.
    pub differs: bool,
    pub logs_to_a_file: bool,
    act: Act,
}

/// How a case is to go.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    Works,
    Fails(i32),
    Killed(i32),
}

/// Makes ready what it needs, enters the jail, and acts. The error is an errno.
type Act = fn(Place) -> Result<(), i32>;

/// In which jail.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub kind: Kind,
    pub serves: Serves,
    /// Whether seccomp is there, which hides the other walls.
    pub seccomp: bool,
    /// Whether it becomes another user.
    pub as_root: bool,
    /// Whether there is a jail at all.
    pub jailed: bool,
}

/// Whom a process becomes that was root.
pub const NOBODY: u32 = 65_534;

const REQUEST: Place = Place {
    kind: Kind::Request,
    serves: Serves::Streams,
    seccomp: true,
    as_root: false,
    jailed: true,
};
const WORKER: Place = Place { kind: Kind::Worker, ..REQUEST };
const COMPILE: Place = Place { kind: Kind::Compile, ..REQUEST };
const DATAGRAM: Place = Place { serves: Serves::Datagrams, ..REQUEST };
/// Without seccomp.
const OTHER_WALLS: Place = Place { seccomp: false, ..REQUEST };
/// The same, with descriptors to spare.
const WORKER_WALLS: Place = Place { seccomp: false, ..WORKER };
const USER: Place = Place { as_root: true, ..OTHER_WALLS };
const USER_SECCOMP: Place = Place { as_root: true, ..REQUEST };

const fn case(name: &'static str, place: Place, expected: Expected, act: Act) -> Case {
    Case { name, place, expected, differs: true, logs_to_a_file: false, act }
}

const fn works(name: &'static str, place: Place, act: Act) -> Case {
    case(name, place, Expected::Works, act)
}

const fn refused(name: &'static str, place: Place, act: Act) -> Case {
    case(name, place, Expected::Fails(EPERM), act)
}

const fn killed(name: &'static str, place: Place, act: Act) -> Case {
    case(name, place, Expected::Killed(SIGSYS), act)
}

const fn denied(name: &'static str, act: Act) -> Case {
    case(name, WORKER_WALLS, Expected::Fails(EACCES), act)
}

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    // Files.
    refused("open_to_read", REQUEST, calls::open_to_read),
    refused("open_to_write", REQUEST, calls::open_to_write),
    refused("open_own_memory", REQUEST, calls::open_own_memory),
    refused("open_to_read", WORKER, calls::open_to_read),
    refused("openat2", REQUEST, calls::openat2),
    refused("memfd_create", REQUEST, calls::memfd_create),
    refused("stat", REQUEST, calls::stat),
    refused("dup", REQUEST, calls::dup),
    denied("open_to_read", calls::open_to_read),
    denied("open_to_write", calls::open_to_write),
    denied("open_own_memory", calls::open_own_memory),
    denied("openat2", calls::openat2),
    // Sockets.
    refused("socket", REQUEST, calls::socket),
    refused("connect", REQUEST, calls::connect),
    refused("bind", REQUEST, calls::bind),
    refused("listen", REQUEST, calls::listen),
    refused("accept", REQUEST, calls::accept),
    refused("socket", WORKER, calls::socket),
    refused("connect", WORKER, calls::connect),
    refused("bind", WORKER, calls::bind),
    refused("listen", WORKER, calls::listen),
    refused("pass_a_descriptor", WORKER, calls::sendmsg),
    refused("receive_a_descriptor", WORKER, calls::recvmsg),
    refused("send_to_an_address", REQUEST, calls::send_to_an_address),
    refused("receive_the_datagrams_of_others", DATAGRAM, calls::receive),
    refused("read_the_datagrams_of_others", DATAGRAM, calls::read),
    refused("end_the_socket_of_others", DATAGRAM, calls::shutdown),
    denied("connect", calls::connect),
    denied("bind", calls::bind),
    refused("connect_to_an_abstract_name", WORKER_WALLS, calls::connect_to_an_abstract_name),
    // Processes and signals.
    killed("execve", REQUEST, calls::execve),
    killed("execve", WORKER, calls::execve),
    killed("fexecve_of_a_memfd", REQUEST, calls::fexecve),
    refused("fork", REQUEST, calls::fork),
    refused("fork", WORKER, calls::fork),
    refused("vfork", WORKER, calls::vfork),
    refused("clone_a_process", WORKER, calls::clone_a_process),
    refused("clone_a_process_in_a_namespace", WORKER, calls::clone_in_a_namespace),
    case("clone3", WORKER, Expected::Fails(ENOSYS), calls::clone3),
    refused("clone3", REQUEST, calls::clone3),
    refused("thread", REQUEST, calls::thread),
    refused("signal_the_parent", REQUEST, calls::signal_the_parent),
    refused("signal_everybody", REQUEST, calls::signal_everybody),
    refused("signal_a_thread_of_the_parent", REQUEST, calls::signal_a_thread_of_the_parent),
    refused("signal_the_parent", OTHER_WALLS, calls::signal_the_parent),
    killed("pidfd_open", REQUEST, calls::pidfd_open),
    killed("pidfd_send_signal", REQUEST, calls::pidfd_send_signal),
    killed("ptrace_the_parent", REQUEST, calls::ptrace_the_parent),
    killed("ptrace_a_sibling", WORKER, calls::ptrace_a_sibling),
    refused("ptrace_the_parent", OTHER_WALLS, calls::ptrace_the_parent),
    killed("process_vm_readv", REQUEST, calls::process_vm_readv),
    refused("process_vm_readv", OTHER_WALLS, calls::process_vm_readv),
    // Code.
    refused("mprotect_to_execute", REQUEST, calls::mprotect_to_execute),
    refused("mmap_to_execute", REQUEST, calls::mmap_to_execute),
    refused("mprotect_to_execute", WORKER, calls::mprotect_to_execute),
    refused("mmap_to_execute", WORKER, calls::mmap_to_execute),
    refused("pkey_mprotect_to_execute", REQUEST, calls::pkey_mprotect_to_execute),
    // The kernel.
    killed("io_uring_setup", REQUEST, calls::io_uring_setup),
    killed("io_uring_setup", WORKER, calls::io_uring_setup),
    killed("keyctl", REQUEST, calls::keyctl),
    killed("bpf", REQUEST, calls::bpf),
    killed("unshare", REQUEST, calls::unshare),
    killed("mount", REQUEST, calls::mount),
    killed("chroot", REQUEST, calls::chroot),
    killed("perf_event_open", REQUEST, calls::perf_event_open),
    killed("userfaultfd", WORKER, calls::userfaultfd),
    refused("prctl", REQUEST, calls::be_dumpable),
    refused("ioctl", REQUEST, calls::ioctl),
    refused("ioctl", WORKER, calls::ioctl),
    refused("raise_a_limit", REQUEST, calls::raise_a_limit),
    refused("loosen_the_filter", REQUEST, calls::seccomp),
    refused("call_of_the_second_abi", REQUEST, calls::x32),
    // The other walls.
    refused("chroot", OTHER_WALLS, calls::chroot),
    refused("setuid_as_root", OTHER_WALLS, calls::setuid_to_nobody),
    case("dup", OTHER_WALLS, Expected::Fails(EMFILE), calls::dup),
    works("nothing_is_dumped", OTHER_WALLS, walls::nothing_is_dumped),
    case("write_a_file", OTHER_WALLS, Expected::Killed(SIGXFSZ), walls::write_a_file),
    Case { logs_to_a_file: true, ..works("the_log_may_be_a_file", REQUEST, walls::log) },
    case("back_to_root", USER, Expected::Fails(EPERM), calls::setuid_to_root),
    killed("back_to_root", USER_SECCOMP, calls::setuid_to_root),
    case("fork", USER, Expected::Fails(EAGAIN), calls::fork),
    works("is_another_user", USER, walls::is_another_user),
    works("ends_with_its_parent", USER, walls::ends_with_its_parent),
    works("descriptors_are_closed", REQUEST, walls::descriptors_are_closed),
    works("paths_can_be_granted", OTHER_WALLS, walls::paths_can_be_granted),
    works("paths_can_be_granted", REQUEST, walls::paths_can_be_granted),
    works("require_names_what_is_missing", REQUEST, walls::require_names_what_is_missing),
    works("try_does_without", REQUEST, walls::try_does_without),
    works("off_is_off", REQUEST, walls::off_is_off),
    works("root_is_no_user_for_it", REQUEST, walls::root_is_no_user_for_it),
    works("the_report_is_whole", REQUEST, walls::the_report_is_whole),
    // What still works.
    works("talk", REQUEST, serving::talk),
    works("talk", WORKER, serving::talk),
    works("answer_a_datagram", DATAGRAM, serving::answer_a_datagram),
    works("poll", REQUEST, serving::poll),
    works("poll", WORKER, serving::poll),
    works("grow_the_heap", REQUEST, serving::grow_the_heap),
    works("clock", REQUEST, serving::clock),
    works("timer", REQUEST, serving::timer),
    works("panic", REQUEST, serving::panic),
    works("hash_map", REQUEST, serving::hash_map),
    works("thread", WORKER, serving::thread),
    works("accept", WORKER, serving::accept),
    works("eventfd", WORKER, serving::eventfd),
    works("pagemap_scan", WORKER, serving::pagemap_scan),
    // A compiler.
    works("compile", COMPILE, compiling::compile),
    works("grow_the_heap", COMPILE, serving::grow_the_heap),
    works("panic", COMPILE, serving::panic),
    works("hash_map", COMPILE, serving::hash_map),
    works("descriptors_are_closed", COMPILE, walls::descriptors_are_closed),
    works("memory_has_a_limit", COMPILE, compiling::memory_has_a_limit),
    case("cpu_time_has_a_limit", COMPILE, Expected::Killed(SIGXCPU), compiling::use_cpu_time),
    refused("open_to_read", COMPILE, calls::open_to_read),
    refused("open_to_write", COMPILE, calls::open_to_write),
    refused("memfd_create", COMPILE, calls::memfd_create),
    refused("dup", COMPILE, calls::dup),
    refused("socket", COMPILE, calls::socket),
    refused("connect", COMPILE, calls::connect),
    refused("accept", COMPILE, calls::accept),
    refused("send", COMPILE, compiling::send),
    refused("receive_the_datagrams_of_others", COMPILE, calls::receive),
    refused("end_the_socket_of_others", COMPILE, calls::shutdown),
    refused("fork", COMPILE, calls::fork),
    refused("thread", COMPILE, calls::thread),
    refused("signal_the_parent", COMPILE, calls::signal_the_parent),
    refused("mprotect_to_execute", COMPILE, calls::mprotect_to_execute),
    refused("mmap_to_execute", COMPILE, calls::mmap_to_execute),
    killed("execve", COMPILE, calls::execve),
    killed("ptrace_the_parent", COMPILE, calls::ptrace_the_parent),
    killed("io_uring_setup", COMPILE, calls::io_uring_setup),
    Case { differs: false, ..case("abort", REQUEST, Expected::Killed(SIGABRT), serving::abort) },
];

impl Place {
    pub fn name(self) -> String {
        let Place { kind, serves, seccomp, as_root, jailed } = self;
        let kind = format!("{kind:?}").to_lowercase();
        let serves = if serves == Serves::Datagrams { "_datagram" } else { "" };
        let seccomp = if seccomp { "" } else { "_without_seccomp" };
        let user = if as_root { "_as_nobody" } else { "" };
        let jailed = if jailed { "" } else { "_free" };
        format!("{kind}{serves}{seccomp}{user}{jailed}")
    }

    pub fn jail(self) -> Jail {
        let mode = if self.jailed { Mode::Require } else { Mode::Off };
        let user = self.as_root.then_some((NOBODY, NOBODY));
        Jail { user, serves: self.serves, ..Jail::new(mode) }
    }

    pub fn enter(self) -> Report {
        self.enter_as(&self.jail(), &Descriptors::All)
    }

    pub fn enter_keeping(self, keep: &[BorrowedFd<'_>]) -> Report {
        self.enter_as(&self.jail(), &Descriptors::Only(keep))
    }

    pub fn enter_as(self, jail: &Jail, descriptors: &Descriptors<'_>) -> Report {
        let prepared = jail.prepare(self.kind).unwrap();
        let entered = if self.seccomp {
            prepared.enter(descriptors)
        } else {
            prepared.enter_without_seccomp(descriptors)
        };
        // What it has open may be closed by now.
        std::mem::forget(prepared);
        entered.unwrap()
    }
}

/// Runs a case, and ends with its errno.
pub fn run(case: &str) -> ! {
    let (place, name) = case.split_once(' ').unwrap();
    let is_it = |case: &&Case| {
        let free = Place { jailed: false, ..case.place };
        case.name == name && (case.place.name() == place || free.name() == place)
    };
    let case = CASES.iter().find(is_it).unwrap();
    let place = Place { jailed: !place.ends_with("_free"), ..case.place };
    let errno = (case.act)(place).err().unwrap_or(0);
    // SAFETY: it takes any number. What a process does at its end is not asked
    // here.
    unsafe { libc::_exit(errno) }
}

/// What a system call says: `errno(3)`.
pub fn result(returned: impl Into<i64>) -> Result<i64, i32> {
    match returned.into() {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
        returned => Ok(returned),
    }
}
