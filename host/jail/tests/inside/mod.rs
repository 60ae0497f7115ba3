//! The process in the jail.

mod calls;
mod compiling;
mod serving;
mod walls;

use std::os::fd::RawFd;

use libc::{
    EACCES, EAGAIN, EBADF, EISCONN, EMFILE, ENOSYS, EPERM, SIGABRT, SIGKILL, SIGSEGV, SIGSYS,
    SIGXCPU, SIGXFSZ,
};
use rustix::process::Signal;
use socketserver_jail::{Descriptors, Jail, Kind, Mode, Report, Request, Serves};

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
    /// There is no process to be had.
    NoProcess,
    Killed(i32),
}

/// Makes ready what it needs, enters the jail, and acts. The error is an errno.
type Act = fn(Place) -> Result<(), i32>;

/// In which jail.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "they have nothing to do with each other")]
pub struct Place {
    pub kind: Kind,
    pub serves: Serves,
    /// What its request is, if it is for one.
    pub request: Option<Request>,
    /// Whether it may open some files.
    pub opens: bool,
    /// Whether seccomp is there, which hides the other walls.
    pub seccomp: bool,
    /// Whether it becomes another user.
    pub as_root: bool,
    /// Whether there is a jail at all.
    pub jailed: bool,
    /// Whether its UDP socket has several addresses.
    pub names_source: bool,
}

/// Whom a process becomes that was root.
pub const NOBODY: u32 = 65_534;

const REQUEST: Place = Place {
    kind: Kind::Request,
    serves: Serves::Streams,
    request: Some(Request::Connection),
    opens: false,
    seccomp: true,
    as_root: false,
    jailed: true,
    names_source: false,
};
const WORKER: Place = Place { kind: Kind::Worker, request: None, ..REQUEST };
const COMPILE: Place = Place { kind: Kind::Compile, request: None, ..REQUEST };
const DATAGRAM: Place =
    Place { serves: Serves::Datagrams, request: Some(Request::Datagram), ..REQUEST };
/// The two kinds of children of a server of both.
const MIXED_DATAGRAM: Place = Place { serves: Serves::Both, ..DATAGRAM };
const MIXED_STREAM: Place = Place { serves: Serves::Both, ..REQUEST };
/// The same, where files can be opened.
const OPENS: Place = Place { opens: true, ..REQUEST };
const OPENS_DATAGRAM: Place = Place { opens: true, ..DATAGRAM };
const OPENS_MIXED_DATAGRAM: Place = Place { opens: true, ..MIXED_DATAGRAM };
/// One that only tries whether a handler starts.
const NO_REQUEST: Place = Place { request: None, ..DATAGRAM };
/// Where the socket is bound to all addresses.
const DATAGRAM_ON_ALL: Place = Place { names_source: true, ..DATAGRAM };
const WORKER_ON_ALL: Place = Place { kind: Kind::Worker, request: None, ..DATAGRAM_ON_ALL };
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

/// What hostile code might do to the datagrams of others, in each place where it is one
/// that has a datagram.
macro_rules! to_the_datagrams_of_others {
    ($($place:ident),*) => { &[$(
        refused("receive_the_datagrams_of_others", $place, calls::receive),
        refused("receive_messages_of_others", $place, calls::receive_message),
        refused("receive_several_messages_of_others", $place, calls::receive_messages),
        refused("read_the_datagrams_of_others", $place, calls::read),
        refused("read_the_datagrams_of_others_at_an_offset", $place, calls::read_at_an_offset),
        refused("read_the_datagrams_of_others_into_parts", $place, calls::read_into_parts),
        refused("splice_the_datagrams_of_others", $place, calls::splice),
        refused("end_the_socket_of_others", $place, calls::shutdown),
        refused("change_the_socket_of_others", $place, calls::change_the_socket),
        refused("filter_the_socket_of_others", $place, calls::filter_the_socket),
        refused("connect_the_socket_of_others", $place, calls::connect_the_socket),
        refused("ask_the_socket_of_others", $place, calls::ask_the_socket),
        refused("signal_a_thread_of_the_parent", $place, calls::signal_a_thread_of_the_parent),
        refused("fork", $place, calls::fork),
        works("answer_a_datagram", $place, serving::answer_a_datagram),
    )*] };
}

#[rustfmt::skip]
const DATAGRAMS: &[Case] = to_the_datagrams_of_others!(
    DATAGRAM, MIXED_DATAGRAM, OPENS_DATAGRAM, OPENS_MIXED_DATAGRAM
);

/// All cases.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain(DATAGRAMS)
}

const fn denied(name: &'static str, act: Act) -> Case {
    case(name, WORKER_WALLS, Expected::Fails(EACCES), act)
}

#[rustfmt::skip]
const CASES: &[Case] = &[
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
    case("accept", REQUEST, Expected::Fails(EMFILE), calls::accept),
    case("accept_on_an_inherited_number", REQUEST, Expected::Fails(EBADF), calls::accept_on_an_inherited_number),
    refused("close_standard_input", REQUEST, calls::close_standard_input),
    refused("close_the_standard_ones", REQUEST, calls::close_the_standard_ones),
    refused("open_the_memory_of_the_parent", REQUEST, calls::open_the_memory_of_the_parent),
    denied("open_the_memory_of_the_parent", calls::open_the_memory_of_the_parent),
    refused("socket", WORKER, calls::socket),
    refused("connect", WORKER, calls::connect),
    refused("bind", WORKER, calls::bind),
    refused("listen", WORKER, calls::listen),
    refused("pass_a_descriptor", WORKER, calls::sendmsg),
    refused("receive_a_descriptor", WORKER, calls::recvmsg),
    refused("pass_a_descriptor_by_a_standard_stream", DATAGRAM_ON_ALL, calls::sendmsg_on_a_standard_stream),
    refused("pass_a_descriptor_by_a_standard_stream", WORKER_ON_ALL, calls::sendmsg_on_a_standard_stream),
    refused("receive_the_messages_of_others", DATAGRAM_ON_ALL, calls::recvmsg),
    refused("answer_from_an_address", DATAGRAM, calls::answer_from_an_address),
    refused("answer_from_an_address", REQUEST, calls::answer_from_an_address),
    refused("send_to_an_address", REQUEST, calls::send_to_an_address),
    refused("pass_a_descriptor", REQUEST, calls::sendmsg),
    refused("pass_a_descriptor", MIXED_STREAM, calls::sendmsg),
    Case { differs: false, ..case("send_elsewhere_by_a_connection", MIXED_STREAM, Expected::Fails(EISCONN), calls::send_elsewhere) },
    Case { differs: false, ..case("send_elsewhere_by_an_ended_connection", MIXED_STREAM, Expected::Fails(EISCONN), calls::send_elsewhere_after_the_end) },
    Case { differs: false, ..case("send_elsewhere_by_a_unix_connection", MIXED_STREAM, Expected::Fails(EISCONN), calls::send_to_a_path) },
    works("messages_bring_no_descriptor", MIXED_STREAM, serving::no_descriptor_comes),
    case("accept", MIXED_STREAM, Expected::Fails(EMFILE), calls::accept),
    refused("receive_the_datagrams_of_others", NO_REQUEST, calls::receive),
    refused("send_to_an_address", NO_REQUEST, calls::send_to_an_address),
    denied("connect", calls::connect),
    denied("bind", calls::bind),
    refused("connect_to_an_abstract_name", WORKER_WALLS, calls::connect_to_an_abstract_name),
    // Processes and signals.
    killed("execve", REQUEST, calls::execve),
    killed("execve", WORKER, calls::execve),
    killed("fexecve_of_a_memfd", REQUEST, calls::fexecve),
    case("fork", REQUEST, Expected::NoProcess, calls::fork),
    case("fork", OTHER_WALLS, Expected::NoProcess, calls::fork),
    case("fork", USER_SECCOMP, Expected::Fails(EAGAIN), calls::fork),
    case("clone_a_process", REQUEST, Expected::NoProcess, calls::clone_a_process),
    refused("clone_a_process_in_a_namespace", REQUEST, calls::clone_in_a_namespace),
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
    refused("signal_a_sibling", REQUEST, calls::signal_a_sibling),
    refused("signal_a_sibling", WORKER, calls::signal_a_sibling),
    refused("signal_a_sibling", OTHER_WALLS, calls::signal_a_sibling),
    refused("signal_the_parent_s_thread", REQUEST, calls::signal_the_parent_s_thread),
    refused("queue_a_signal_to_the_parent", REQUEST, calls::queue_a_signal_to_the_parent),
    refused("limit_the_parent", REQUEST, calls::limit_the_parent),
    refused("outlive_the_parent", REQUEST, calls::outlive_the_parent),
    case("pidfd_open", REQUEST, Expected::Fails(EMFILE), calls::pidfd_open),
    killed("pidfd_open", WORKER, calls::pidfd_open),
    killed("pidfd_getfd", REQUEST, calls::pidfd_getfd),
    killed("pidfd_open", OPENS, calls::pidfd_open),
    refused("pidfd_send_signal", REQUEST, calls::pidfd_send_signal),
    killed("pidfd_send_signal", OPENS, calls::pidfd_send_signal),
    killed("pidfd_send_signal", DATAGRAM, calls::pidfd_send_signal),
    killed("pidfd_send_signal", OPENS_MIXED_DATAGRAM, calls::pidfd_send_signal),
    killed("pidfd_send_signal", WORKER, calls::pidfd_send_signal),
    case("kill_a_sibling_by_an_inherited_number", REQUEST, Expected::Fails(EBADF), calls::kill_by_an_inherited_number),
    case("kill_a_sibling_by_an_inherited_number", MIXED_STREAM, Expected::Fails(EBADF), calls::kill_by_an_inherited_number),
    killed("kill_a_sibling_by_an_inherited_number", OPENS, calls::kill_by_an_inherited_number),
    case("kill_the_client_by_its_descriptor", REQUEST, Expected::Fails(EMFILE), calls::kill_the_client),
    case("kill_the_client_by_its_descriptor", MIXED_STREAM, Expected::Fails(EMFILE), calls::kill_the_client),
    killed("kill_the_client_by_its_descriptor", OPENS, calls::kill_the_client),
    refused("signal_the_group", REQUEST, calls::signal_the_group),
    refused("signal_the_group", MIXED_STREAM, calls::signal_the_group),
    refused("signal_a_thread_of_the_parent", MIXED_STREAM, calls::signal_a_thread_of_the_parent),
    refused("signal_the_parent", MIXED_STREAM, calls::signal_the_parent),
    refused("signal_a_sibling", MIXED_STREAM, calls::signal_a_sibling),
    case("fork", MIXED_STREAM, Expected::NoProcess, calls::fork),
    refused("loosen_the_filter", MIXED_STREAM, calls::seccomp),
    killed("ptrace_the_parent", MIXED_STREAM, calls::ptrace_the_parent),
    killed("ptrace_the_parent", REQUEST, calls::ptrace_the_parent),
    killed("ptrace_a_sibling", WORKER, calls::ptrace_a_sibling),
    refused("ptrace_the_parent", OTHER_WALLS, calls::ptrace_the_parent),
    killed("process_vm_readv", REQUEST, calls::process_vm_readv),
    refused("process_vm_readv", OTHER_WALLS, calls::process_vm_readv),
    killed("process_vm_writev", REQUEST, calls::process_vm_writev),
    killed("process_vm_writev", WORKER, calls::process_vm_writev),
    refused("process_vm_writev", OTHER_WALLS, calls::process_vm_writev),
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
    refused("setns", REQUEST, calls::setns),
    refused("setns_of_processes", REQUEST, calls::setns_of_processes),
    killed("setns", WORKER, calls::setns),
    refused("take_capabilities_back", REQUEST, calls::take_capabilities_back),
    killed("setuid", REQUEST, calls::setuid_to_nobody),
    killed("personality", REQUEST, calls::personality),
    refused("type_into_the_terminal", REQUEST, calls::tiocsti),
    refused("type_into_the_terminal", WORKER, calls::tiocsti),
    killed("userfaultfd", REQUEST, calls::userfaultfd),
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
    works("the_parent_gives_up_too", REQUEST, walls::the_parent_gives_up_too),
    works("a_filter_for_each_where_there_is_no_other_way", REQUEST, walls::own_filter),
    works("paths_to_read_are_not_changed", REQUEST, walls::paths_to_read_are_not_changed),
    works("paths_to_read_are_not_changed", WORKER, walls::paths_to_read_are_not_changed),
    works("require_names_what_is_missing", REQUEST, walls::require_names_what_is_missing),
    works("try_does_without", REQUEST, walls::try_does_without),
    works("off_is_off", REQUEST, walls::off_is_off),
    works("root_is_no_user_for_it", REQUEST, walls::root_is_no_user_for_it),
    works("the_report_is_whole", REQUEST, walls::the_report_is_whole),
    // What still works.
    works("talk", REQUEST, serving::talk),
    works("talk", WORKER, serving::talk),
    works("answer_from_an_address", DATAGRAM_ON_ALL, calls::answer_from_an_address),
    works("answer_from_an_address", WORKER_ON_ALL, calls::answer_from_an_address),
    works("talk", MIXED_STREAM, serving::talk),
    works("talk", OPENS, serving::talk),
    works("the_parent_receives_and_a_child_answers", MIXED_DATAGRAM, serving::the_parent_receives),
    works("the_parent_receives_and_a_child_answers", DATAGRAM, serving::the_parent_receives),
    works("the_parent_kills_a_child", REQUEST, serving::the_parent_kills),
    works("the_parent_kills_a_child", MIXED_STREAM, serving::the_parent_kills),
    works("the_parent_kills_a_child", MIXED_DATAGRAM, serving::the_parent_kills),
    works("the_parent_kills_a_child", OPENS, serving::the_parent_kills),
    works("the_parent_kills_a_child", USER_SECCOMP, serving::the_parent_kills),
    case("cpu_time_has_a_limit", REQUEST, Expected::Killed(SIGXCPU), compiling::use_cpu_time),
    case("cpu_time_has_a_limit", MIXED_DATAGRAM, Expected::Killed(SIGXCPU), compiling::use_cpu_time),
    case("cpu_time_has_a_limit_for_good", REQUEST, Expected::Killed(SIGKILL), compiling::insist_on_cpu_time),
    case("cpu_time_has_a_limit_for_good", USER_SECCOMP, Expected::Killed(SIGKILL), compiling::insist_on_cpu_time),
    works("cpu_time_is_no_more_than_there_is", REQUEST, compiling::less_cpu_time),
    works("cpu_time_may_be_long", REQUEST, compiling::much_cpu_time),
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
    Case { differs: false, ..case("abort", WORKER, Expected::Killed(SIGABRT), serving::abort) },
    Case { differs: false, ..case("abort", REQUEST, Expected::Killed(SIGSEGV), serving::abort) },
];

impl Place {
    pub fn name(self) -> String {
        let Place { kind, serves, request, opens, seccomp, as_root, jailed, names_source } = self;
        let names_source = if names_source { "_on_all" } else { "" };
        let kind = format!("{kind:?}").to_lowercase();
        let serves = match (serves, request) {
            (_, None) if self.kind == Kind::Request => "_none",
            (Serves::Both, Some(Request::Datagram)) => "_mixed_datagram",
            (Serves::Both, _) => "_mixed_stream",
            (Serves::Datagrams, _) => "_datagram",
            (Serves::Streams, _) => "",
        };
        let opens = if opens { "_with_files" } else { "" };
        let seccomp = if seccomp { "" } else { "_without_seccomp" };
        let user = if as_root { "_as_nobody" } else { "" };
        let jailed = if jailed { "" } else { "_free" };
        format!("{kind}{serves}{names_source}{opens}{seccomp}{user}{jailed}")
    }

    pub fn jail(self) -> Jail {
        let mode = if self.jailed { Mode::Require } else { Mode::Off };
        let user = self.as_root.then_some((NOBODY, NOBODY));
        let read_only = if self.opens { vec!["/dev/null".into()] } else { vec![] };
        let senders = self.serves != Serves::Streams && !self.names_source;
        let (packet_info, names_source) = (self.names_source, self.names_source);
        let walls = Jail { user, serves: self.serves, senders, read_only, ..Jail::new(mode) };
        Jail { packet_info, names_source, ..walls }
    }

    pub fn enter(self) -> Report {
        self.enter_as(&self.jail(), &Descriptors::All)
    }

    pub fn enter_keeping(self, keep: &[RawFd]) -> Report {
        self.enter_as(&self.jail(), &Descriptors::Only(keep))
    }

    pub fn enter_as(self, jail: &Jail, descriptors: &Descriptors<'_>) -> Report {
        let prepared = jail.prepare(self.kind).unwrap();
        if self.kind == Kind::Request && self.jailed {
            if self.seccomp {
                prepared.surround().unwrap();
            } else {
                prepared.surround_without_seccomp().unwrap();
            }
            fork_for_a_request();
        }
        let entered = if self.seccomp {
            prepared.enter(self.request, descriptors)
        } else {
            prepared.enter_without_seccomp(descriptors)
        };
        // What it has open may be closed by now.
        std::mem::forget(prepared);
        entered.unwrap()
    }
}

/// What is added to the signal that ended a process, in an exit status.
pub const BY_SIGNAL: i32 = 128;

/// Goes on in a child, as a server does that forks for each request. The parent
/// ends as the child does.
fn fork_for_a_request() {
    // SAFETY: there is one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
        return;
    }
    let mut status = 0;
    // SAFETY: the pointer is a good one.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    let code = if libc::WIFSIGNALED(status) {
        BY_SIGNAL + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    // SAFETY: it takes any number.
    unsafe { libc::_exit(code) }
}

/// Runs a case, and ends with its errno.
pub fn run(case: &str) -> ! {
    let (place, name) = case.split_once(' ').unwrap();
    let is_it = |case: &&Case| {
        let free = Place { jailed: false, ..case.place };
        case.name == name && (case.place.name() == place || free.name() == place)
    };
    let case = cases().find(is_it).unwrap();
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
