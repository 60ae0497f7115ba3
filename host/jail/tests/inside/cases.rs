//! The table of cases: each action, the jail that it runs in, and the outcome that it must
//! have.

use libc::{
    EACCES, EAGAIN, EBADF, EDESTADDRREQ, EISCONN, EMFILE, ENOSYS, EPERM, SIGABRT, SIGKILL, SIGSEGV,
    SIGSYS, SIGXCPU, SIGXFSZ,
};

#[allow(clippy::wildcard_imports, reason = "the table uses each setup")]
use super::setup::*;
use super::{calls, compiling, serving, walls};

/// An action that native code tries.
pub struct Case {
    pub name: &'static str,
    pub setup: Setup,
    pub expected: Expected,
    /// Set if the outcome differs outside of the jail.
    pub differs: bool,
    pub logs_to_a_file: bool,
    pub(super) act: Act,
}

/// The outcome that a case must have.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    Works,
    Fails(i32),
    /// The kernel refuses another process.
    NoProcess,
    Killed(i32),
}

/// Prepares, enters the jail, and acts. The error is an errno.
type Act = fn(Setup) -> Result<(), i32>;

const fn case(name: &'static str, setup: Setup, expected: Expected, act: Act) -> Case {
    Case { name, setup, expected, differs: true, logs_to_a_file: false, act }
}

const fn works(name: &'static str, setup: Setup, act: Act) -> Case {
    case(name, setup, Expected::Works, act)
}

const fn refused(name: &'static str, setup: Setup, act: Act) -> Case {
    case(name, setup, Expected::Fails(EPERM), act)
}

const fn killed(name: &'static str, setup: Setup, act: Act) -> Case {
    case(name, setup, Expected::Killed(SIGSYS), act)
}

/// Attacks on the datagrams of other requests, in each setup whose process has a datagram.
macro_rules! with_the_datagrams_of_other_requests {
    ($($setup:ident),*) => { &[$(
        refused("receive_datagrams_of_other_requests", $setup, calls::receive),
        refused("receive_messages_of_other_requests", $setup, calls::receive_message),
        refused("receive_several_messages_of_other_requests", $setup, calls::receive_messages),
        refused("read_datagrams_of_other_requests", $setup, calls::read),
        refused("read_datagrams_of_other_requests_at_an_offset", $setup, calls::read_at_an_offset),
        refused("read_datagrams_of_other_requests_into_parts", $setup, calls::read_into_parts),
        refused("splice_datagrams_of_other_requests", $setup, calls::splice),
        refused("shut_down_the_shared_socket", $setup, calls::shutdown),
        refused("change_the_shared_socket", $setup, calls::change_the_socket),
        refused("make_the_shared_socket_linger", $setup, calls::make_the_socket_linger),
        refused("filter_the_shared_socket", $setup, calls::filter_the_socket),
        refused("connect_the_shared_socket", $setup, calls::connect_the_socket),
        refused("query_the_shared_socket", $setup, calls::query_the_socket),
        refused("signal_a_thread_of_the_parent", $setup, calls::signal_a_thread_of_the_parent),
        refused("fork", $setup, calls::fork),
        refused("send_a_file", $setup, serving::send_a_file),
        works("reply_to_a_datagram", $setup, serving::reply_to_a_datagram),
    )*] };
}

#[rustfmt::skip]
const DATAGRAMS: &[Case] = with_the_datagrams_of_other_requests!(
    DATAGRAM, MIXED_DATAGRAM, OPENS_DATAGRAM, OPENS_MIXED_DATAGRAM, UDP_BESIDE_UNIX,
    BROKERED_DATAGRAM, BROKERED_UDP_ON_ALL, BROKERED_UDP_BESIDE_UNIX, BROKERED_UNIX_DATAGRAM
);

/// Calls of native code with sockets of a broker, in each setup that has them.
macro_rules! with_sockets_of_a_broker {
    ($($setup:ident),*) => { &[$(
        refused("socket", $setup, calls::socket),
        refused("socketpair", $setup, calls::socketpair),
        refused("connect", $setup, calls::connect),
        refused("connect_elsewhere", $setup, calls::connect_elsewhere),
        refused("disconnect", $setup, calls::disconnect),
        refused("bind", $setup, calls::bind),
        refused("listen", $setup, calls::listen),
        refused("send_to_an_address", $setup, calls::send_to_an_address),
        refused("send_a_message_to_an_address", $setup, calls::send_a_message_to_an_address),
        refused("send_messages_to_an_address", $setup, calls::send_messages_to_an_address),
        refused("send_to_a_path_by_a_datagram", $setup, calls::send_to_a_path_by_a_datagram),
        Case { differs: false, ..case("send_to_no_address", $setup, Expected::Fails(EDESTADDRREQ), calls::send_to_no_address) },
        refused("open_fast", $setup, calls::open_fast),
        refused("route_by_another_host", $setup, calls::route_by_another_host),
        refused("bind_to_a_device", $setup, calls::bind_to_a_device),
        refused("share_a_port", $setup, calls::share_a_port),
        refused("join_a_group", $setup, calls::join_a_group),
        refused("filter_the_socket", $setup, calls::filter_the_socket),
        refused("pass_a_descriptor_on", $setup, calls::pass_a_descriptor_on),
        refused("ioctl", $setup, calls::query_the_socket),
        refused("open_to_read", $setup, calls::open_to_read),
        refused("memfd_create", $setup, calls::memfd_create),
        refused("dup", $setup, calls::dup),
        refused("signal_the_parent", $setup, calls::signal_the_parent),
        killed("execve", $setup, calls::execve),
        killed("pidfd_open", $setup, calls::pidfd_open),
        killed("pidfd_send_signal", $setup, calls::pidfd_send_signal),
        killed("kill_the_client_by_its_descriptor", $setup, calls::kill_the_client),
        killed("io_uring_setup", $setup, calls::io_uring_setup),
        works("receive_a_socket_and_talk", $setup, calls::receive_a_socket_and_talk),
        works("accept_from_others", $setup, calls::accept_from_others),
        works("talk", $setup, serving::talk),
        works("poll", $setup, serving::poll),
    )*] };
}

#[rustfmt::skip]
const BROKERED_CASES: &[Case] =
    with_sockets_of_a_broker!(
        BROKERED, BROKERED_WITH_UNIX, BROKERED_WORKER, BROKERED_DATAGRAM, BROKERED_UDP_ON_ALL,
        BROKERED_UDP_BESIDE_UNIX, BROKERED_UNIX_DATAGRAM
    );

/// The needs of a compiler, and what it may not do, in each of its threads.
macro_rules! with_a_compiler {
    ($($setup:ident),*) => { &[$(
        works("compile", $setup, compiling::compile),
        works("grow_the_heap", $setup, serving::grow_the_heap),
        works("panic", $setup, serving::panic),
        works("hash_map", $setup, serving::hash_map),
        works("descriptors_are_closed", $setup, walls::descriptors_are_closed),
        works("memory_has_a_limit", $setup, compiling::memory_has_a_limit),
        case("cpu_time_has_a_limit", $setup, Expected::Killed(SIGXCPU), compiling::use_cpu_time),
        refused("open_to_read", $setup, calls::open_to_read),
        refused("open_to_write", $setup, calls::open_to_write),
        refused("memfd_create", $setup, calls::memfd_create),
        refused("dup", $setup, calls::dup),
        refused("socket", $setup, calls::socket),
        refused("connect", $setup, calls::connect),
        refused("accept", $setup, calls::accept),
        refused("send", $setup, compiling::send),
        refused("receive_datagrams_of_other_requests", $setup, calls::receive),
        refused("shut_down_the_shared_socket", $setup, calls::shutdown),
        refused("fork", $setup, calls::fork),
        refused("thread", $setup, calls::thread),
        refused("signal_the_parent", $setup, calls::signal_the_parent),
        refused("mprotect_to_execute", $setup, calls::mprotect_to_execute),
        refused("mmap_to_execute", $setup, calls::mmap_to_execute),
        killed("execve", $setup, calls::execve),
        killed("ptrace_the_parent", $setup, calls::ptrace_the_parent),
        killed("io_uring_setup", $setup, calls::io_uring_setup),
    )*] };
}

#[rustfmt::skip]
const COMPILERS: &[Case] = with_a_compiler!(COMPILER, COMPILER_THREAD);

/// Returns all cases.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain(DATAGRAMS).chain(BROKERED_CASES).chain(COMPILERS)
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
    refused("close_the_standard_streams", REQUEST, calls::close_the_standard_streams),
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
    refused("pass_a_descriptor", UNIX_STREAM_BESIDE_UDP, calls::sendmsg),
    refused("pass_a_descriptor", UNIX_DATAGRAM_BESIDE_UDP, calls::sendmsg),
    refused("pass_a_descriptor", WORKER_UNIX_AND_UDP, calls::sendmsg),
    refused("pass_a_descriptor_by_a_standard_stream", UDP_BESIDE_UNIX, calls::sendmsg_on_a_standard_stream),
    refused("reply_from_a_source_address", WORKER_UNIX_AND_UDP, calls::reply_from_a_source_address),
    refused("receive_messages_of_other_requests", UDP_BESIDE_UNIX, calls::recvmsg),
    refused("receive_messages_of_other_requests", DATAGRAM_ON_ALL, calls::recvmsg),
    refused("reply_from_a_source_address", DATAGRAM, calls::reply_from_a_source_address),
    refused("reply_from_a_source_address", REQUEST, calls::reply_from_a_source_address),
    refused("send_to_an_address", REQUEST, calls::send_to_an_address),
    refused("pass_a_descriptor", REQUEST, calls::sendmsg),
    refused("pass_a_descriptor", MIXED_STREAM, calls::sendmsg),
    Case { differs: false, ..case("send_elsewhere_by_a_connection", MIXED_STREAM, Expected::Fails(EISCONN), calls::send_elsewhere) },
    Case { differs: false, ..case("send_elsewhere_by_an_ended_connection", MIXED_STREAM, Expected::Fails(EISCONN), calls::send_elsewhere_after_the_end) },
    Case { differs: false, ..case("send_elsewhere_by_a_unix_connection", MIXED_STREAM, Expected::Fails(EISCONN), calls::send_to_a_path) },
    works("messages_bring_no_descriptor", MIXED_STREAM, serving::messages_bring_no_descriptor),
    case("accept", MIXED_STREAM, Expected::Fails(EMFILE), calls::accept),
    refused("receive_datagrams_of_other_requests", NO_REQUEST, calls::receive),
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
    refused("signal_every_process", REQUEST, calls::signal_every_process),
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
    works("no_core_is_dumped", OTHER_WALLS, walls::no_core_is_dumped),
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
    works("the_parent_is_restricted_too", REQUEST, walls::the_parent_is_restricted_too),
    works("without_namespaces_each_child_has_a_filter", REQUEST, walls::without_namespaces),
    works("paths_to_read_are_not_changed", REQUEST, walls::paths_to_read_are_not_changed),
    works("paths_to_read_are_not_changed", WORKER, walls::paths_to_read_are_not_changed),
    works("require_names_the_missing_wall", REQUEST, walls::require_names_the_missing_wall),
    works("try_does_without_a_missing_wall", REQUEST, walls::try_does_without_a_missing_wall),
    works("off_puts_up_no_wall", REQUEST, walls::off_puts_up_no_wall),
    works("root_is_refused_as_user", REQUEST, walls::root_is_refused_as_user),
    works("the_report_names_every_wall", REQUEST, walls::the_report_names_every_wall),
    // Allowed actions.
    works("talk", REQUEST, serving::talk),
    works("talk", WORKER, serving::talk),
    works("reply_from_a_source_address", DATAGRAM_ON_ALL, calls::reply_from_a_source_address),
    works("reply_from_a_source_address", WORKER_ON_ALL, calls::reply_from_a_source_address),
    works("reply_from_a_source_address", UDP_BESIDE_UNIX, calls::reply_from_a_source_address),
    works("reply_to_a_datagram", UDP_BESIDE_UNIX, serving::reply_to_a_datagram),
    works("talk", UNIX_STREAM_BESIDE_UDP, serving::talk),
    works("talk", MIXED_STREAM, serving::talk),
    works("talk", OPENS, serving::talk),
    works("send_a_file", OPENS, serving::send_a_file),
    refused("send_a_file", REQUEST, serving::send_a_file),
    refused("send_a_file", WORKER, serving::send_a_file),
    works("the_parent_receives_and_a_child_replies", MIXED_DATAGRAM, serving::the_parent_receives),
    works("the_parent_receives_and_a_child_replies", DATAGRAM, serving::the_parent_receives),
    works("the_parent_receives_and_a_child_replies", BROKERED_DATAGRAM, serving::the_parent_receives),
    works("the_parent_receives_and_a_child_replies", BROKERED_UDP_ON_ALL, serving::the_parent_receives),
    works("reply_from_a_source_address", BROKERED_UDP_ON_ALL, calls::reply_from_a_source_address),
    works("reply_from_a_source_address", BROKERED_UDP_BESIDE_UNIX, calls::reply_from_a_source_address),
    refused("pass_a_descriptor_by_a_standard_stream", BROKERED_UDP_ON_ALL, calls::sendmsg_on_a_standard_stream),
    works("send_a_file", BROKERED_DATAGRAM_WITH_FILES, serving::send_a_file),
    works("the_parent_kills_a_child", REQUEST, serving::the_parent_kills),
    works("the_parent_kills_a_child", MIXED_STREAM, serving::the_parent_kills),
    works("the_parent_kills_a_child", MIXED_DATAGRAM, serving::the_parent_kills),
    works("the_parent_kills_a_child", OPENS, serving::the_parent_kills),
    works("the_parent_kills_a_child", USER_SECCOMP, serving::the_parent_kills),
    case("cpu_time_has_a_limit", REQUEST, Expected::Killed(SIGXCPU), compiling::use_cpu_time),
    case("cpu_time_has_a_limit", MIXED_DATAGRAM, Expected::Killed(SIGXCPU), compiling::use_cpu_time),
    case("cpu_time_ends_although_the_signal_is_ignored", REQUEST, Expected::Killed(SIGKILL), compiling::insist_on_cpu_time),
    case("cpu_time_ends_although_the_signal_is_ignored", USER_SECCOMP, Expected::Killed(SIGKILL), compiling::insist_on_cpu_time),
    works("the_limit_of_cpu_time_only_falls", REQUEST, compiling::less_cpu_time),
    works("the_limit_of_cpu_time_may_be_high", REQUEST, compiling::much_cpu_time),
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
    // A broker.
    works("open_sockets", BROKER, calls::open_sockets),
    works("hash_map", BROKER, serving::hash_map),
    works("thread", BROKER, serving::thread),
    works("descriptors_are_closed", BROKER, walls::descriptors_are_closed),
    refused("open_to_read", BROKER, calls::open_to_read),
    refused("open_to_write", BROKER, calls::open_to_write),
    refused("memfd_create", BROKER, calls::memfd_create),
    refused("fork", BROKER, calls::fork),
    refused("signal_the_parent", BROKER, calls::signal_the_parent),
    refused("signal_a_sibling", BROKER, calls::signal_a_sibling),
    refused("mprotect_to_execute", BROKER, calls::mprotect_to_execute),
    refused("mmap_to_execute", BROKER, calls::mmap_to_execute),
    killed("execve", BROKER, calls::execve),
    killed("ptrace_the_parent", BROKER, calls::ptrace_the_parent),
    killed("process_vm_readv", BROKER, calls::process_vm_readv),
    killed("io_uring_setup", BROKER, calls::io_uring_setup),
    killed("pidfd_getfd", BROKER, calls::pidfd_getfd),
    Case { differs: false, ..case("abort", WORKER, Expected::Killed(SIGABRT), serving::abort) },
    Case { differs: false, ..case("abort", REQUEST, Expected::Killed(SIGSEGV), serving::abort) },
];
