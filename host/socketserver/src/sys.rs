//! Processes, the memory they share, and credentials: what only the C library can
//! do, and the only unsafe code here.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

use rustix::fs::{Mode, OFlags, fstat, open, stat};
use rustix::net::RecvFlags;
use rustix::process::{Pid, getpid};
use socket2::SockAddr;

/// Which of the two processes this is, after a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forked {
    /// The one that forked, which has this child now.
    Parent(Pid),
    /// The new one. It ends with [`exit_now`], and never returns to the code
    /// that the parent goes on with.
    Child,
}

/// The directory of the threads of one process. Asking it is cheaper than
/// asking by path, and can be done where no path can be opened any more.
#[derive(Debug)]
pub(crate) struct Tasks {
    process: Pid,
    directory: OwnedFd,
}

impl Tasks {
    /// Those of this process.
    ///
    /// Errors: there is no `/proc`.
    pub(crate) fn new() -> io::Result<Self> {
        let directory = open(TASKS, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Tasks { process: getpid(), directory })
    }

    /// How many threads this process has, be it the one that made this or one
    /// that was forked from it.
    ///
    /// Errors: there is no `/proc`.
    pub(crate) fn threads(&self) -> io::Result<u64> {
        let tasks = if getpid() == self.process { fstat(&self.directory) } else { stat(TASKS) };
        // A directory has two links, and one for each directory in it.
        Ok(tasks?.st_nlink.saturating_sub(2))
    }

    /// Closes it in a forked child, which must not hold it: see
    /// [`close_inherited`].
    pub(crate) fn close_inherited(&self) {
        close_inherited(self.directory.as_fd());
    }
}

const TASKS: &str = "/proc/self/task";

/// Forks. The functions that libraries have registered with `pthread_atfork`
/// are called: the WebAssembly engine needs that.
///
/// Errors: this process has other threads, or `fork(2)` failed.
pub(crate) fn fork(tasks: &Tasks) -> io::Result<Forked> {
    let threads = tasks.threads()?;
    if threads != 1 {
        return Err(io::Error::other(TooManyThreads(threads)));
    }
    // SAFETY: there is one thread, so nothing is locked by a thread that the
    // child does not have, and the child may do whatever this process may.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        child => match Pid::from_raw(child) {
            Some(child) if child.as_raw_nonzero().get() > 0 => Ok(Forked::Parent(child)),
            _ => Err(io::Error::last_os_error()),
        },
    }
}

/// Why there was no fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only a process with one thread can fork, and this one has {0}")]
pub(crate) struct TooManyThreads(pub u64);

/// Ends a forked child at once: nothing is dropped, flushed or run at exit.
/// Python's `os._exit`.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: it takes any number, and does not return.
    unsafe { libc::_exit(status) }
}

/// Closes a descriptor that a forked child has inherited and must not hold.
///
/// Its owner is not told: it must not be used or dropped any more, which holds
/// in a child that ends with [`exit_now`].
pub(crate) fn close_inherited(fd: BorrowedFd<'_>) {
    // SAFETY: as above, nobody else in this process uses it.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Numbers in memory that forked processes do not copy but share.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    numbers: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: it owns its memory, which holds atomics and nothing that belongs to a
// thread.
unsafe impl Send for SharedMemory {}
// SAFETY: as above; what is shared are references to atomics.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// That many numbers, one at least, all zero.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let count = count.max(1);
        let size = count.checked_mul(size_of::<AtomicU64>());
        let size = size.ok_or(io::ErrorKind::OutOfMemory)?;
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, wherever the kernel has room for it.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let numbers = NonNull::new(mapped.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedMemory { numbers, count })
    }

    pub(crate) fn numbers(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has room for that many, is aligned to a page, was
        // zeroed by the kernel, which is a valid number, and lives as long as
        // `self`.
        unsafe { slice::from_raw_parts(self.numbers.as_ptr(), self.count) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        let size = self.count * size_of::<AtomicU64>();
        // SAFETY: it was mapped with that size, and nobody borrows from it.
        unsafe { libc::munmap(self.numbers.as_ptr().cast(), size) };
    }
}

/// Who made a connection. The user is `u32::MAX` if that is not a Unix one.
///
/// rustix, which has this too, takes a process of another pid namespace, whose
/// number is 0, for an error.
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = SIZE_OF_CREDENTIALS;
    // SAFETY: the two are valid for writes, `length` says of how many bytes, and
    // any bytes are valid credentials.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(credentials) } else { Err(io::Error::last_os_error()) }
}

/// 12, on all of Linux.
#[allow(clippy::cast_possible_truncation)]
const SIZE_OF_CREDENTIALS: libc::socklen_t = size_of::<libc::ucred>() as libc::socklen_t;

/// Sets an option of `tcp(7)` whose value is a number, and which no library sets.
pub(crate) fn set_tcp_option(socket: BorrowedFd<'_>, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer is valid for reads of that many bytes, and the kernel keeps
    // it no longer than the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            SIZE_OF_NUMBER,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How many datagrams a socket has dropped, as they were damaged or there was no room
/// for them: `SO_MEMINFO` of the kernel, the number that `SO_RXQ_OVFL` of `socket(7)`
/// tells with each datagram. It begins anew after 2<sup>32</sup>.
///
/// No library asks for it.
pub(crate) fn dropped_datagrams(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // `SK_MEMINFO_DROPS` and `SK_MEMINFO_VARS` of `linux/sock_diag.h`.
    const DROPS: usize = 8;
    let mut numbers = [0_u32; DROPS + 1];
    #[allow(clippy::cast_possible_truncation, reason = "36 bytes")]
    let mut length = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: the two are valid for writes, `length` says of how many bytes, and any
    // bytes are valid numbers.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(numbers[DROPS]) } else { Err(io::Error::last_os_error()) }
}

/// 4, on all of Linux.
#[allow(clippy::cast_possible_truncation)]
const SIZE_OF_NUMBER: libc::socklen_t = size_of::<i32>() as libc::socklen_t;

/// Has the kernel refuse messages that pass descriptors to this Unix socket, and to
/// the connections that it accepts: `SO_PASSRIGHTS`.
///
/// Errors: `ENOPROTOOPT` before Linux 6.16.
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) -> io::Result<()> {
    /// Of `asm-generic/socket.h`; the C library does not name it yet.
    const SO_PASSRIGHTS: libc::c_int = 83;
    let off: libc::c_int = 0;
    // SAFETY: `off` is valid for reads of its size.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            SIZE_OF_NUMBER,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A message that was received, beside its data.
pub(crate) struct Message {
    /// The address that it came from, of length 0 for none.
    pub address: SockAddr,
    /// The credentials of the sender, from a socket that has `SO_PASSCRED`.
    pub sender: Option<libc::ucred>,
    /// The descriptors that were passed along, closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

/// The most descriptors that one message can pass: `SCM_MAX_FD` of the kernel.
const MAX_DESCRIPTORS: usize = 253;

/// Receives a message into the spare room of `data`.
///
/// With `with_descriptors` there is room for all that can be passed along; otherwise
/// there is room for the credentials of the sender and for nothing after them, and the
/// kernel closes what was passed.
///
/// rustix has the flaw that [`peer_credentials`] avoids, and nix takes what an
/// unnamed client left in its memory for an address.
pub(crate) fn receive_message(
    socket: BorrowedFd<'_>,
    data: &mut Vec<u8>,
    flags: RecvFlags,
    with_descriptors: bool,
) -> io::Result<Message> {
    // More than is needed, and aligned.
    let mut control = [0_u64; 8 + MAX_DESCRIPTORS.div_ceil(2)];
    let spare = data.spare_capacity_mut();
    let mut buffer = libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: spare.len() };
    // SAFETY: of numbers and pointers only, all of which may be zero.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut buffer;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: it only computes.
    let for_credentials = unsafe { libc::CMSG_SPACE(SIZE_OF_CREDENTIALS) };
    // A `usize` or a `u32`, as the C library has it.
    message.msg_controllen =
        if with_descriptors { size_of_val(&control) as _ } else { for_credentials as _ };
    let flags = flags.bits().cast_signed() | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `storage` is valid for writes of `length` bytes, and so are `buffer`
    // and `control` for theirs; the kernel says how long the address is.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            message.msg_name = storage.cast();
            message.msg_namelen = *length;
            let received = libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags);
            let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
            *length = message.msg_namelen;
            // SAFETY: the kernel has written that many bytes, which is not more
            // than there was room for.
            data.set_len(data.len() + received);
            Ok(())
        })
    }?;
    let (mut sender, mut descriptors) = (None, Vec::new());
    // SAFETY: the kernel has filled `control`, and says how far.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: it is null, or points to a header in `control`.
    while let Some(about) = unsafe { header.as_ref() } {
        // SAFETY: it only computes; the content follows the header, as long as that says.
        let (content, empty) = unsafe { (libc::CMSG_DATA(header), libc::CMSG_LEN(0)) };
        let length = about.cmsg_len.saturating_sub(empty as _);
        #[allow(clippy::unnecessary_cast, reason = "a `u32` with other C libraries")]
        let length = length as usize;
        match (about.cmsg_level, about.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                // SAFETY: there are as many bytes, any of which are valid credentials.
                sender = Some(unsafe { content.cast::<libc::ucred>().read_unaligned() });
            }
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                let count = length / size_of::<RawFd>();
                descriptors.extend((0..count).map(|place| {
                    // SAFETY: the kernel has made a descriptor for each number that is
                    // there, and this process knows none of them yet.
                    unsafe {
                        let number = content.add(place * size_of::<RawFd>());
                        OwnedFd::from_raw_fd(ptr::read_unaligned(number.cast()))
                    }
                }));
            }
            _ => {}
        }
        // SAFETY: both are of the message that the kernel has filled.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(Message { address, sender, descriptors })
}
