//! What hostile native code calls. Nothing here does harm outside of the jail:
//! signals are the signal 0, and what would change the machine has arguments
//! that are refused.

use std::ffi::{CString, c_int, c_long};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Child, Command};
use std::{mem, ptr};

use super::{NOBODY, Place, result};

type Done = Result<(), i32>;

/// `syscall(2)`.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: the pointers are good or null, and the kernel checks the rest.
        result(unsafe { libc::syscall(libc::$number $(, $argument)*) })
    };
}

fn open(path: &str, flags: c_int) -> Done {
    let path = CString::new(path).unwrap();
    call!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0).map(drop)
}

pub fn open_to_read(place: Place) -> Done {
    place.enter();
    open("/etc/passwd", libc::O_RDONLY)
}

pub fn open_to_write(place: Place) -> Done {
    place.enter();
    open("/dev/null", libc::O_WRONLY)
}

pub fn open_own_memory(place: Place) -> Done {
    place.enter();
    open("/proc/self/mem", libc::O_RDWR)
}

pub fn openat2(place: Place) -> Done {
    place.enter();
    let how = [0_u64; 3];
    let how = how.as_ptr();
    call!(SYS_openat2, libc::AT_FDCWD, c"/etc/passwd".as_ptr(), how, size_of::<[u64; 3]>())
        .map(drop)
}

pub fn memfd_create(place: Place) -> Done {
    place.enter();
    call!(SYS_memfd_create, c"code".as_ptr(), 0).map(drop)
}

pub fn stat(place: Place) -> Done {
    place.enter();
    std::fs::metadata("/etc/passwd").map(drop).map_err(|error| error.raw_os_error().unwrap())
}

pub fn dup(place: Place) -> Done {
    place.enter();
    call!(SYS_dup, 0).map(drop)
}

pub fn socket(place: Place) -> Done {
    place.enter();
    call!(SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0).map(drop)
}

fn tcp_socket() -> OwnedFd {
    let socket = call!(SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
    // SAFETY: it was just made.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(socket).unwrap()) }
}

fn loopback(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: 2,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

const ADDRESS: usize = size_of::<libc::sockaddr_in>();

pub fn connect(place: Place) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = loopback(listener.local_addr().unwrap().port());
    let socket = tcp_socket();
    place.enter();
    call!(SYS_connect, socket.as_raw_fd(), &raw const to, ADDRESS).map(drop)
}

pub fn bind(place: Place) -> Done {
    let (socket, at) = (tcp_socket(), loopback(0));
    place.enter();
    call!(SYS_bind, socket.as_raw_fd(), &raw const at, ADDRESS).map(drop)
}

pub fn listen(place: Place) -> Done {
    let socket = tcp_socket();
    place.enter();
    call!(SYS_listen, socket.as_raw_fd(), 1).map(drop)
}

pub fn accept(place: Place) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    place.enter();
    let none = ptr::null::<u8>();
    call!(SYS_accept4, listener.as_raw_fd(), none, none, 0).map(drop)
}

/// A listening socket that this process had until it entered.
pub fn accept_on_an_inherited_number(place: Place) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    place.enter_keeping(&[]);
    let none = ptr::null::<u8>();
    let accepted = call!(SYS_accept4, listener.as_raw_fd(), none, none, 0).map(drop);
    mem::forget(listener);
    accepted
}

/// To have its number for another one.
pub fn close_standard_input(place: Place) -> Done {
    place.enter();
    call!(SYS_close, 0).map(drop)
}

pub fn close_the_standard_ones(place: Place) -> Done {
    place.enter();
    call!(SYS_close_range, 0, 2, 0).map(drop)
}

/// A message with this descriptor.
fn with_message(act: impl FnOnce(*mut libc::msghdr) -> Done) -> Done {
    let mut byte = [1_u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0_u64; 8];
    // SAFETY: all zeros are a message without anything.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    act(&raw mut message)
}

pub fn sendmsg(place: Place) -> Done {
    let (one, _other) = UnixStream::pair().unwrap();
    place.enter();
    with_message(|message| {
        // SAFETY: the message is a good one.
        unsafe { (*message).msg_controllen = 0 };
        call!(SYS_sendmsg, one.as_raw_fd(), message, 0).map(drop)
    })
}

pub fn recvmsg(place: Place) -> Done {
    let (one, other) = UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &other, b"1").unwrap();
    place.enter();
    with_message(|message| call!(SYS_recvmsg, one.as_raw_fd(), message, 0).map(drop))
}

pub fn send_to_an_address(place: Place) -> Done {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap();
    place.enter();
    socket.send_to(b"data", to).map(drop).map_err(|error| error.raw_os_error().unwrap())
}

fn with_a_datagram() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"of another", socket.local_addr().unwrap()).unwrap();
    socket
}

pub fn receive(place: Place) -> Done {
    let socket = with_a_datagram();
    place.enter();
    let mut data = [0; 16];
    socket.recv_from(&mut data).map(drop).map_err(|error| error.raw_os_error().unwrap())
}

pub fn read(place: Place) -> Done {
    let socket = with_a_datagram();
    place.enter();
    let mut data = [0_u8; 16];
    call!(SYS_read, socket.as_raw_fd(), data.as_mut_ptr(), data.len()).map(drop)
}

pub fn shutdown(place: Place) -> Done {
    let socket = with_a_datagram();
    place.enter();
    call!(SYS_shutdown, socket.as_raw_fd(), libc::SHUT_RDWR).map(drop)
}

pub fn connect_to_an_abstract_name(place: Place) -> Done {
    let name = format!("jail-{}", std::process::id());
    let name = SocketAddr::from_abstract_name(name).unwrap();
    let _listener = UnixListener::bind_addr(&name).unwrap();
    place.enter();
    UnixStream::connect_addr(&name).map(drop).map_err(|error| error.raw_os_error().unwrap())
}

pub fn execve(place: Place) -> Done {
    place.enter();
    let arguments = [c"true".as_ptr(), ptr::null()];
    let environment = ptr::null::<*const u8>();
    call!(SYS_execve, c"/bin/true".as_ptr(), arguments.as_ptr(), environment).map(drop)
}

pub fn fexecve(place: Place) -> Done {
    let code = std::fs::read("/bin/true").unwrap();
    let memory = call!(SYS_memfd_create, c"code".as_ptr(), 0).unwrap();
    call!(SYS_write, memory, code.as_ptr(), code.len()).unwrap();
    place.enter();
    let arguments = [c"true".as_ptr(), ptr::null()];
    let (environment, flags) = (ptr::null::<*const u8>(), libc::AT_EMPTY_PATH);
    call!(SYS_execveat, memory, c"".as_ptr(), arguments.as_ptr(), environment, flags).map(drop)
}

/// Ends the child of a fork that should not have been.
fn forked(returned: c_long) -> Done {
    if returned == 0 {
        // SAFETY: it takes any number.
        unsafe { libc::_exit(0) }
    }
    result(returned).map(drop)
}

pub fn fork(place: Place) -> Done {
    place.enter();
    // SAFETY: the process has one thread.
    forked(unsafe { libc::fork() }.into())
}

pub fn vfork(place: Place) -> Done {
    place.enter();
    // SAFETY: the child ends at once.
    forked(unsafe { libc::syscall(libc::SYS_vfork) })
}

fn clone(flags: c_int) -> Done {
    // SAFETY: without CLONE_VM it is a fork.
    forked(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })
}

pub fn clone_a_process(place: Place) -> Done {
    place.enter();
    clone(libc::SIGCHLD)
}

pub fn clone_in_a_namespace(place: Place) -> Done {
    place.enter();
    clone(libc::CLONE_NEWUSER | libc::SIGCHLD)
}

pub fn clone3(place: Place) -> Done {
    place.enter();
    // What it asks for is a fork.
    let mut what = [0_u64; 8];
    what[4] = libc::SIGCHLD as u64;
    // SAFETY: as above.
    forked(unsafe { libc::syscall(libc::SYS_clone3, what.as_ptr(), size_of_val(&what)) })
}

pub fn thread(place: Place) -> Done {
    place.enter();
    let thread = std::thread::Builder::new().spawn(|| {});
    thread.map(drop).map_err(|error| error.raw_os_error().unwrap())
}

/// The signal 0: whether it could be sent.
fn signal(process: i32) -> Done {
    call!(SYS_kill, process, 0).map(drop)
}

fn parent() -> i32 {
    i32::try_from(std::os::unix::process::parent_id()).unwrap()
}

pub fn signal_the_parent(place: Place) -> Done {
    place.enter();
    signal(parent())
}

pub fn signal_everybody(place: Place) -> Done {
    place.enter();
    signal(-1)
}

pub fn signal_a_thread_of_the_parent(place: Place) -> Done {
    place.enter();
    call!(SYS_tgkill, parent(), parent(), 0).map(drop)
}

pub fn pidfd_open(place: Place) -> Done {
    place.enter();
    call!(SYS_pidfd_open, parent(), 0).map(drop)
}

pub fn pidfd_send_signal(place: Place) -> Done {
    let parent = call!(SYS_pidfd_open, parent(), 0).unwrap();
    place.enter();
    call!(SYS_pidfd_send_signal, parent, 0, ptr::null::<u8>(), 0).map(drop)
}

/// Does not stop it, and ends with this process.
fn seize(process: i32) -> Done {
    call!(SYS_ptrace, libc::PTRACE_SEIZE, process, 0, 0).map(drop)
}

pub fn signal_a_sibling(place: Place) -> Done {
    let sibling = sibling();
    place.enter();
    signal(i32::try_from(sibling.id()).unwrap())
}

pub fn signal_the_parent_s_thread(place: Place) -> Done {
    place.enter();
    call!(SYS_tkill, parent(), 0).map(drop)
}

pub fn queue_a_signal_to_the_parent(place: Place) -> Done {
    place.enter();
    // siginfo_t: signal, errno, code. SI_QUEUE is -1.
    let mut info = [0_i32; 32];
    info[2] = -1;
    call!(SYS_rt_sigqueueinfo, parent(), 0, info.as_ptr()).map(drop)
}

pub fn pidfd_getfd(place: Place) -> Done {
    let this = i32::try_from(std::process::id()).unwrap();
    let parent = call!(SYS_pidfd_open, this, 0).unwrap();
    place.enter();
    call!(SYS_pidfd_getfd, parent, 0, 0).map(drop)
}

pub fn open_the_memory_of_the_parent(place: Place) -> Done {
    place.enter();
    open(&format!("/proc/{}/mem", parent()), libc::O_RDWR)
}

pub fn process_vm_writev(place: Place) -> Done {
    let mut written = 0_u64;
    place.enter();
    let from = libc::iovec { iov_base: (&raw mut written).cast(), iov_len: 8 };
    // Nothing is there.
    let to = libc::iovec { iov_base: ptr::null_mut(), iov_len: 8 };
    match call!(SYS_process_vm_writev, parent(), &raw const from, 1, &raw const to, 1, 0_u64) {
        // The kernel was willing.
        Err(libc::EFAULT) | Ok(_) => Ok(()),
        Err(errno) => Err(errno),
    }
}

pub fn limit_the_parent(place: Place) -> Done {
    place.enter();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let none = ptr::null::<u8>();
    call!(SYS_prlimit64, parent(), libc::RLIMIT_CORE, none, &raw mut limit).map(drop)
}

pub fn outlive_the_parent(place: Place) -> Done {
    place.enter();
    call!(SYS_prctl, libc::PR_SET_PDEATHSIG, 0, 0, 0, 0).map(drop)
}

fn set_namespace(place: Place, which: &str, kind: c_int) -> Done {
    let namespace = std::fs::File::open(format!("/proc/self/ns/{which}")).unwrap();
    place.enter();
    call!(SYS_setns, namespace.as_raw_fd(), kind).map(drop)
}

pub fn setns(place: Place) -> Done {
    set_namespace(place, "uts", libc::CLONE_NEWUTS)
}

pub fn setns_of_processes(place: Place) -> Done {
    set_namespace(place, "pid", libc::CLONE_NEWPID)
}

pub fn take_capabilities_back(place: Place) -> Done {
    place.enter();
    let header = [0x2008_0522_u32, 0];
    // CAP_SYS_ADMIN: effective and permitted.
    let sets = [1_u32 << 21, 1 << 21, 0, 0, 0, 0];
    call!(SYS_capset, header.as_ptr(), sets.as_ptr()).map(drop)
}

pub fn personality(place: Place) -> Done {
    place.enter();
    call!(SYS_personality, 0xffff_ffff_u32).map(drop)
}

/// To type into the terminal of the log.
pub fn tiocsti(place: Place) -> Done {
    place.enter();
    call!(SYS_ioctl, 2, libc::TIOCSTI, c"x".as_ptr()).map(drop)
}

pub fn ptrace_the_parent(place: Place) -> Done {
    place.enter();
    seize(parent())
}

/// Is killed when this process ends, whatever ends it.
fn sibling() -> Child {
    Command::new("sleep").arg("0.1").spawn().unwrap()
}

pub fn ptrace_a_sibling(place: Place) -> Done {
    let sibling = sibling();
    place.enter();
    seize(i32::try_from(sibling.id()).unwrap())
}

pub fn process_vm_readv(place: Place) -> Done {
    let mut read = 0_u64;
    place.enter();
    // This program is the parent's: what is there is there too.
    let from = libc::iovec { iov_base: (&raw const ADDRESSED).cast_mut().cast(), iov_len: 8 };
    let to = libc::iovec { iov_base: (&raw mut read).cast(), iov_len: 8 };
    let read = call!(SYS_process_vm_readv, parent(), &raw const to, 1, &raw const from, 1, 0_u64);
    match read {
        // Where a program lies is random: the kernel was willing.
        Err(libc::EFAULT) | Ok(_) => Ok(()),
        Err(errno) => Err(errno),
    }
}

static ADDRESSED: u64 = 7;

const PAGE: usize = 4096;

fn map(protection: c_int) -> Result<i64, i32> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    call!(SYS_mmap, 0, PAGE, protection, flags, -1, 0_u64)
}

pub fn mprotect_to_execute(place: Place) -> Done {
    place.enter();
    let page = map(libc::PROT_READ | libc::PROT_WRITE).unwrap();
    call!(SYS_mprotect, page, PAGE, libc::PROT_READ | libc::PROT_EXEC).map(drop)
}

pub fn mmap_to_execute(place: Place) -> Done {
    place.enter();
    map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC).map(drop)
}

pub fn pkey_mprotect_to_execute(place: Place) -> Done {
    place.enter();
    let page = map(libc::PROT_READ | libc::PROT_WRITE).unwrap();
    call!(SYS_pkey_mprotect, page, PAGE, libc::PROT_READ | libc::PROT_EXEC, -1).map(drop)
}

pub fn io_uring_setup(place: Place) -> Done {
    place.enter();
    let parameters = [0_u64; 15];
    call!(SYS_io_uring_setup, 1, parameters.as_ptr()).map(drop)
}

pub fn keyctl(place: Place) -> Done {
    place.enter();
    // KEYCTL_GET_KEYRING_ID of the session.
    call!(SYS_keyctl, 0, -3, 0).map(drop)
}

pub fn bpf(place: Place) -> Done {
    place.enter();
    call!(SYS_bpf, 0, ptr::null::<u8>(), 0).map(drop)
}

pub fn unshare(place: Place) -> Done {
    place.enter();
    call!(SYS_unshare, libc::CLONE_NEWUTS).map(drop)
}

pub fn mount(place: Place) -> Done {
    place.enter();
    let none = ptr::null::<u8>();
    call!(SYS_mount, none, none, none, 0, none).map(drop)
}

pub fn chroot(place: Place) -> Done {
    place.enter();
    call!(SYS_chroot, c"/".as_ptr()).map(drop)
}

pub fn perf_event_open(place: Place) -> Done {
    place.enter();
    call!(SYS_perf_event_open, ptr::null::<u8>(), 0, -1, -1, 0).map(drop)
}

pub fn userfaultfd(place: Place) -> Done {
    place.enter();
    call!(SYS_userfaultfd, 0).map(drop)
}

pub fn be_dumpable(place: Place) -> Done {
    place.enter();
    call!(SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0).map(drop)
}

pub fn ioctl(place: Place) -> Done {
    let (one, _other) = UnixStream::pair().unwrap();
    place.enter();
    let mut count = 0;
    call!(SYS_ioctl, one.as_raw_fd(), libc::FIONREAD, &raw mut count).map(drop)
}

pub fn raise_a_limit(place: Place) -> Done {
    place.enter();
    let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    call!(SYS_prlimit64, 0, libc::RLIMIT_CORE, &raw const limit, ptr::null::<u8>()).map(drop)
}

pub fn seccomp(place: Place) -> Done {
    place.enter();
    // Whether there is SECCOMP_RET_ALLOW.
    let allow = libc::SECCOMP_RET_ALLOW;
    call!(SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const allow).map(drop)
}

/// `getpid` with a number of the x32 ABI, which has the same architecture.
pub fn x32(place: Place) -> Done {
    place.enter();
    // SAFETY: it has no arguments.
    result(unsafe { libc::syscall(0x4000_0000 | libc::SYS_getpid) }).map(drop)
}

pub fn setuid_to_nobody(place: Place) -> Done {
    place.enter();
    call!(SYS_setuid, NOBODY).map(drop)
}

pub fn setuid_to_root(place: Place) -> Done {
    place.enter();
    call!(SYS_setuid, 0).map(drop)
}
