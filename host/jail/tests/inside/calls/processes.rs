//! Programs, processes, threads, signals, and the memory of other processes.

use std::ffi::{c_int, c_long};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::ptr;

use super::super::{Setup, result};
use super::{Done, call, open};

pub fn execve(setup: Setup) -> Done {
    setup.enter();
    let arguments = [c"true".as_ptr(), ptr::null()];
    let environment = ptr::null::<*const u8>();
    call!(SYS_execve, c"/bin/true".as_ptr(), arguments.as_ptr(), environment).map(drop)
}

pub fn fexecve(setup: Setup) -> Done {
    let code = std::fs::read("/bin/true").unwrap();
    let memory = call!(SYS_memfd_create, c"code".as_ptr(), 0).unwrap();
    call!(SYS_write, memory, code.as_ptr(), code.len()).unwrap();
    setup.enter();
    let arguments = [c"true".as_ptr(), ptr::null()];
    let (environment, flags) = (ptr::null::<*const u8>(), libc::AT_EMPTY_PATH);
    call!(SYS_execveat, memory, c"".as_ptr(), arguments.as_ptr(), environment, flags).map(drop)
}

/// Ends the child of a fork that the jail should have refused.
fn forked(returned: c_long) -> Done {
    if returned == 0 {
        // SAFETY: any status is valid.
        unsafe { libc::_exit(0) }
    }
    result(returned).map(drop)
}

pub fn fork(setup: Setup) -> Done {
    setup.enter();
    // SAFETY: the process has one thread.
    forked(unsafe { libc::fork() }.into())
}

pub fn vfork(setup: Setup) -> Done {
    setup.enter();
    // SAFETY: the child ends at once.
    forked(unsafe { libc::syscall(libc::SYS_vfork) })
}

fn clone(flags: c_int) -> Done {
    // SAFETY: without CLONE_VM it is a fork.
    forked(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })
}

pub fn clone_a_process(setup: Setup) -> Done {
    setup.enter();
    clone(libc::SIGCHLD)
}

pub fn clone_in_a_namespace(setup: Setup) -> Done {
    setup.enter();
    clone(libc::CLONE_NEWUSER | libc::SIGCHLD)
}

pub fn clone3(setup: Setup) -> Done {
    setup.enter();
    // The arguments ask for a fork.
    let mut what = [0_u64; 8];
    what[4] = libc::SIGCHLD as u64;
    // SAFETY: the arguments ask for a fork without CLONE_VM.
    forked(unsafe { libc::syscall(libc::SYS_clone3, what.as_ptr(), size_of_val(&what)) })
}

pub fn thread(setup: Setup) -> Done {
    setup.enter();
    let thread = std::thread::Builder::new().spawn(|| {});
    thread.map(drop).map_err(|error| error.raw_os_error().unwrap())
}

/// Sends the signal 0, which only checks the permission.
fn signal(process: i32) -> Done {
    call!(SYS_kill, process, 0).map(drop)
}

fn parent() -> i32 {
    i32::try_from(std::os::unix::process::parent_id()).unwrap()
}

pub fn signal_the_parent(setup: Setup) -> Done {
    setup.enter();
    signal(parent())
}

pub fn signal_every_process(setup: Setup) -> Done {
    setup.enter();
    signal(-1)
}

pub fn signal_a_thread_of_the_parent(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_tgkill, parent(), parent(), 0).map(drop)
}

pub fn pidfd_open(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_pidfd_open, parent(), 0).map(drop)
}

pub fn pidfd_send_signal(setup: Setup) -> Done {
    let parent = call!(SYS_pidfd_open, parent(), 0).unwrap();
    setup.enter();
    call!(SYS_pidfd_send_signal, parent, 0, ptr::null::<u8>(), 0).map(drop)
}

/// Kills a sibling by the number of a pidfd that was open before this process entered.
pub fn kill_by_an_inherited_number(setup: Setup) -> Done {
    let sibling = sibling();
    let number = call!(SYS_pidfd_open, sibling.id(), 0).unwrap();
    setup.enter_keeping(&[]);
    call!(SYS_pidfd_send_signal, number, libc::SIGKILL, ptr::null::<u8>(), 0).map(drop)
}

/// `SO_PEERPIDFD` returns a pidfd of the process that made a connection. Here that is this
/// process; the signal is 0.
pub fn kill_the_client(setup: Setup) -> Done {
    const SO_PEERPIDFD: c_int = 77;
    let (connection, _client) = UnixStream::pair().unwrap();
    let (mut client, mut size) = (-1_i32, 4_u32);
    setup.enter();
    let (level, socket) = (libc::SOL_SOCKET, connection.as_raw_fd());
    let asked = call!(SYS_getsockopt, socket, level, SO_PEERPIDFD, &raw mut client, &raw mut size);
    match asked {
        // SO_PEERPIDFD is new in Linux 6.5.
        Err(libc::ENOPROTOOPT) => {
            client = i32::try_from(call!(SYS_pidfd_open, std::process::id(), 0)?).unwrap();
        }
        asked => drop(asked?),
    }
    call!(SYS_pidfd_send_signal, client, 0, ptr::null::<u8>(), 0).map(drop)
}

/// Signals the process group by the pidfd that each process has of itself (Linux 6.14).
pub fn signal_the_group(setup: Setup) -> Done {
    const PIDFD_SELF_THREAD_GROUP: c_int = -10_002;
    const PIDFD_SIGNAL_PROCESS_GROUP: c_int = 1 << 2;
    setup.enter();
    let (itself, flags) = (PIDFD_SELF_THREAD_GROUP, PIDFD_SIGNAL_PROCESS_GROUP);
    // This process leads no group, so outside of the jail the call finds none.
    call!(SYS_pidfd_send_signal, itself, libc::SIGKILL, ptr::null::<u8>(), flags).map(drop)
}

/// Traces a process. That does not stop the process, and ends with this one.
fn seize(process: i32) -> Done {
    call!(SYS_ptrace, libc::PTRACE_SEIZE, process, 0, 0).map(drop)
}

pub fn signal_a_sibling(setup: Setup) -> Done {
    let sibling = sibling();
    setup.enter();
    signal(i32::try_from(sibling.id()).unwrap())
}

pub fn signal_the_parent_s_thread(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_tkill, parent(), 0).map(drop)
}

pub fn queue_a_signal_to_the_parent(setup: Setup) -> Done {
    setup.enter();
    // siginfo_t: signal, errno, code. SI_QUEUE is -1.
    let mut info = [0_i32; 32];
    info[2] = -1;
    call!(SYS_rt_sigqueueinfo, parent(), 0, info.as_ptr()).map(drop)
}

pub fn pidfd_getfd(setup: Setup) -> Done {
    let this = i32::try_from(std::process::id()).unwrap();
    let parent = call!(SYS_pidfd_open, this, 0).unwrap();
    setup.enter();
    call!(SYS_pidfd_getfd, parent, 0, 0).map(drop)
}

pub fn open_the_memory_of_the_parent(setup: Setup) -> Done {
    setup.enter();
    open(&format!("/proc/{}/mem", parent()), libc::O_RDWR)
}

pub fn process_vm_writev(setup: Setup) -> Done {
    let mut written = 0_u64;
    setup.enter();
    let from = libc::iovec { iov_base: (&raw mut written).cast(), iov_len: 8 };
    // Nothing is mapped at this address.
    let to = libc::iovec { iov_base: ptr::null_mut(), iov_len: 8 };
    match call!(SYS_process_vm_writev, parent(), &raw const from, 1, &raw const to, 1, 0_u64) {
        // The kernel permitted it.
        Err(libc::EFAULT) | Ok(_) => Ok(()),
        Err(errno) => Err(errno),
    }
}

pub fn limit_the_parent(setup: Setup) -> Done {
    setup.enter();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let none = ptr::null::<u8>();
    call!(SYS_prlimit64, parent(), libc::RLIMIT_CORE, none, &raw mut limit).map(drop)
}

pub fn outlive_the_parent(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_prctl, libc::PR_SET_PDEATHSIG, 0, 0, 0, 0).map(drop)
}

fn set_namespace(setup: Setup, which: &str, kind: c_int) -> Done {
    let namespace = std::fs::File::open(format!("/proc/self/ns/{which}")).unwrap();
    setup.enter();
    call!(SYS_setns, namespace.as_raw_fd(), kind).map(drop)
}

pub fn setns(setup: Setup) -> Done {
    set_namespace(setup, "uts", libc::CLONE_NEWUTS)
}

pub fn setns_of_processes(setup: Setup) -> Done {
    set_namespace(setup, "pid", libc::CLONE_NEWPID)
}

pub fn take_capabilities_back(setup: Setup) -> Done {
    setup.enter();
    let header = [0x2008_0522_u32, 0];
    // CAP_SYS_ADMIN: effective and permitted.
    let sets = [1_u32 << 21, 1 << 21, 0, 0, 0, 0];
    call!(SYS_capset, header.as_ptr(), sets.as_ptr()).map(drop)
}

pub fn personality(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_personality, 0xffff_ffff_u32).map(drop)
}

/// Types into the terminal of the log.
pub fn tiocsti(setup: Setup) -> Done {
    setup.enter();
    call!(SYS_ioctl, 2, libc::TIOCSTI, c"x".as_ptr()).map(drop)
}

pub fn ptrace_the_parent(setup: Setup) -> Done {
    setup.enter();
    seize(parent())
}

/// Starts a process that ends soon.
fn sibling() -> Child {
    Command::new("sleep").arg("0.1").spawn().unwrap()
}

pub fn ptrace_a_sibling(setup: Setup) -> Done {
    let sibling = sibling();
    setup.enter();
    seize(i32::try_from(sibling.id()).unwrap())
}

pub fn process_vm_readv(setup: Setup) -> Done {
    let mut read = 0_u64;
    setup.enter();
    // The parent runs the same program, so this address exists there, too.
    let from = libc::iovec { iov_base: (&raw const ADDRESSED).cast_mut().cast(), iov_len: 8 };
    let to = libc::iovec { iov_base: (&raw mut read).cast(), iov_len: 8 };
    let read = call!(SYS_process_vm_readv, parent(), &raw const to, 1, &raw const from, 1, 0_u64);
    match read {
        // The address of a program is random: the kernel permitted the call.
        Err(libc::EFAULT) | Ok(_) => Ok(()),
        Err(errno) => Err(errno),
    }
}

static ADDRESSED: u64 = 7;
