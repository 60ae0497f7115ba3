//! Calls that only the C library offers: forking, shared memory, signal stacks, credentials
//! and some socket options. All unsafe code of this crate is here.

#![allow(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::mem;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use crossbeam_utils::CachePadded;
use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate,
    memfd_create, open, stat,
};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::RecvFlags;
use rustix::process::{Pid, getpid};
use socket2::SockAddr;

/// The process after a fork: the parent or the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forked {
    /// The process that forked, with the id of its child.
    Parent(Pid),
    /// The new process. It must end with [`exit_now`], and never return to the code of
    /// the parent.
    Child,
}

/// The directory of the threads of one process, which counts them. An open directory is
/// cheaper than a path, and works in a jail, where no path can be opened.
#[derive(Debug)]
pub(crate) struct Tasks {
    process: Pid,
    directory: OwnedFd,
}

impl Tasks {
    /// Opens the directory of this process.
    ///
    /// # Errors
    ///
    /// `/proc` is missing.
    pub(crate) fn new() -> io::Result<Self> {
        let directory = open(TASKS, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Tasks { process: getpid(), directory })
    }

    /// Returns the number of threads of this process: the process that opened the
    /// directory, or one that was forked from it.
    ///
    /// # Errors
    ///
    /// `/proc` is missing.
    pub(crate) fn threads(&self) -> io::Result<u64> {
        let tasks = if getpid() == self.process { fstat(&self.directory) } else { stat(TASKS) };
        // A directory has two links, and one link for each subdirectory.
        Ok(tasks?.st_nlink.saturating_sub(2))
    }

    /// Closes the directory in a forked child, which must not hold it: see
    /// [`close_inherited`].
    pub(crate) fn close_inherited(&self) {
        close_inherited(self.directory.as_fd());
    }
}

const TASKS: &str = "/proc/self/task";

/// Forks this process. This calls the functions that libraries have registered with
/// `pthread_atfork`, which the WebAssembly engine needs.
///
/// The signals in `for_parent` are blocked in the child from its beginning. Otherwise a
/// signal that came before the child could block it would run a handler of the parent there.
///
/// # Errors
///
/// This process has other threads, or `fork(2)` failed.
pub(crate) fn fork(tasks: &Tasks, for_parent: Option<&SigSet>) -> io::Result<Forked> {
    let threads = tasks.threads()?;
    if threads != 1 {
        return Err(io::Error::other(TooManyThreads(threads)));
    }
    let Some(for_parent) = for_parent else { return fork_process() };
    let mask = for_parent.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let forked = fork_process();
    if !matches!(forked, Ok(Forked::Child)) {
        mask.thread_set_mask()?;
    }
    forked
}

/// Forks a process that has one thread.
fn fork_process() -> io::Result<Forked> {
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

/// The error of a fork in a process with several threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only a process with one thread can fork, and this one has {0}")]
pub(crate) struct TooManyThreads(pub u64);

/// Ends a forked child at once: nothing is dropped, flushed or run at exit.
/// Python's `os._exit`.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` accepts any number, and does not return.
    unsafe { libc::_exit(status) }
}

/// Closes a descriptor that a forked child has inherited and must not hold.
///
/// The owner of the descriptor must not be used or dropped any more, which holds
/// in a child that ends with [`exit_now`].
pub(crate) fn close_inherited(fd: BorrowedFd<'_>) {
    // SAFETY: as above, no code in this process uses the descriptor any more.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Removes variables from the environment of this process, and returns their values.
///
/// # Errors
///
/// There are some, and this process has other threads, or `/proc` is missing.
pub(crate) fn take_variables<const N: usize>(
    names: [&str; N],
) -> io::Result<[Option<OsString>; N]> {
    let values = names.map(env::var_os);
    if values.iter().any(Option::is_some) {
        let threads = Tasks::new()?.threads()?;
        if threads != 1 {
            return Err(io::Error::other(format!("this process has {threads} threads")));
        }
        for name in names {
            // SAFETY: there is one thread, so no other reads the environment meanwhile.
            unsafe { env::remove_var(name) };
        }
    }
    Ok(values)
}

/// Takes the descriptors from 3 on that the process that started this one has opened for it,
/// and makes the programs that this process starts not have them.
///
/// The caller has read their number in variables that name this process and that it has
/// removed. Each descriptor has one owner therefore.
///
/// # Errors
///
/// One of the descriptors is not open.
pub(crate) fn take_passed_descriptors(count: u32) -> Result<Vec<OwnedFd>, RawFd> {
    let numbers = (3..).take(count as usize);
    let take = |number: RawFd| {
        // SAFETY: the descriptor is borrowed for this call, which fails if it is not open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        fcntl_setfd(borrowed, FdFlags::CLOEXEC).map_err(|_| number)?;
        // SAFETY: the descriptor is open, and by the protocol this process owns it. No other
        // code knows it, because the variables that announce it are taken once.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    };
    numbers.map(take).collect()
}

/// The size of the signal stack of a thread that runs requests: enough for a handler
/// with signal handlers of its own. For a smaller one such a handler would map another.
pub(crate) const SIGNAL_STACK_SIZE: usize = 256 << 10;

/// Makes the end of the stack of the current thread, which was started with at least
/// [`SIGNAL_STACK_SIZE`] more than it needs, its signal stack. So the signal stack takes no
/// mapping, and no memory until it is used. If that fails, the thread keeps the small one that
/// Rust gave it.
pub(crate) fn use_end_of_stack_for_signals() {
    // SAFETY: all zeros is a valid value of this structure.
    let mut attributes: libc::pthread_attr_t = unsafe { mem::zeroed() };
    let (mut lowest, mut size, mut guard) = (ptr::null_mut(), 0, 0);
    // SAFETY: the pointers are valid, and the attributes are read between their initialization,
    // which `pthread_getattr_np` does, and their end.
    let known = unsafe {
        libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) == 0 && {
            let stack =
                libc::pthread_attr_getstack(&raw const attributes, &raw mut lowest, &raw mut size);
            let guarded = libc::pthread_attr_getguardsize(&raw const attributes, &raw mut guard);
            libc::pthread_attr_destroy(&raw mut attributes);
            stack == 0 && guarded == 0
        }
    };
    // Some versions of the GNU C library count the guard page as part of the stack.
    if !known || size < 2 * (SIGNAL_STACK_SIZE + guard) {
        return;
    }
    let stack = libc::stack_t {
        ss_sp: lowest.wrapping_byte_add(guard),
        ss_flags: 0,
        ss_size: SIGNAL_STACK_SIZE,
    };
    // SAFETY: the memory is mapped until the thread ends, and Rust takes its signal stack away
    // before that. The thread uses the memory only if it overflows its stack. Then a handler
    // of signals that uses the same memory ends the process, as it does after each overflow.
    unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
}

/// A type whose values forked processes can share in one mapping: atomic numbers, and
/// arrays and structs of them. [`shared_data!`](crate::shared_data) declares such structs.
///
/// # Safety
///
/// All zero bytes are a valid value. So are any bytes that another process writes. A value
/// needs no drop, and the alignment of the type is at most that of a page.
pub unsafe trait SharedData: Sync {}

// SAFETY: a number has no invalid bytes.
unsafe impl SharedData for AtomicU64 {}
// SAFETY: as its elements.
unsafe impl<T: SharedData, const N: usize> SharedData for [T; N] {}
// SAFETY: as its content. The padding is never read, and the alignment is 256 at most.
unsafe impl<T: SharedData> SharedData for CachePadded<T> {}

/// Declares a struct that forked processes can share, in a [`Shared`]. Each
/// field must itself be [`SharedData`].
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// socketserver::shared_data! {
///     /// What the processes of a server count.
///     struct Counters {
///         requests: AtomicU64,
///         failures: AtomicU64,
///     }
/// }
///
/// let counters = socketserver::Shared::<Counters>::zeroed()?;
/// counters.requests.fetch_add(1, Ordering::Relaxed);
/// # Ok::<(), std::io::Error>(())
/// ```
#[macro_export]
macro_rules! shared_data {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: $type,)*
        }

        // SAFETY: each field is shared data, and the bytes between them are never read.
        unsafe impl $crate::SharedData for $name where $($type: $crate::SharedData,)* {}
    };
}

/// A value that a process shares with the processes that it forks afterwards: what one of
/// them writes, all of them see. The kernel makes it of zero bytes.
///
/// The processes can do nothing else to each other through it. Native code that escaped
/// from a sandbox in one of them can make the numbers wrong.
pub struct Shared<T: SharedData> {
    data: NonNull<T>,
}

// SAFETY: it owns its memory, whose content threads may share.
unsafe impl<T: SharedData> Send for Shared<T> {}
// SAFETY: as above; a `&Shared` gives out `&T` and nothing else.
unsafe impl<T: SharedData> Sync for Shared<T> {}

impl<T: SharedData> Shared<T> {
    /// Makes a value of zero bytes.
    ///
    /// # Errors
    ///
    /// The machine has no memory for it.
    pub fn zeroed() -> io::Result<Self> {
        Shared::map(libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)
    }

    /// Makes a file in memory that holds a value of zero bytes, which another program can open.
    ///
    /// # Errors
    ///
    /// The machine has no memory for it.
    pub fn file() -> io::Result<OwnedFd> {
        let file = memfd_create("shared", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, size_of::<T>().max(1) as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(file)
    }

    /// Returns the value in a file that [`file`](Self::file) has made for this type. All
    /// programs that open the file must be the same, because nothing says what the bytes mean.
    ///
    /// # Errors
    ///
    /// The file has another size, or could become shorter, or cannot be mapped.
    pub fn in_file(file: BorrowedFd<'_>) -> io::Result<Self> {
        let size = fstat(file)?.st_size;
        // A page beyond the end of a file would end the process that reads it.
        let is_whole = usize::try_from(size) == Ok(size_of::<T>().max(1));
        if !is_whole || !fcntl_get_seals(file)?.contains(SealFlags::SHRINK) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Shared::map(libc::MAP_SHARED, file.as_raw_fd())
    }

    /// Maps memory of this process only, or the file, which is as long as the value and cannot
    /// become shorter.
    fn map(flags: libc::c_int, file: RawFd) -> io::Result<Self> {
        let (size, protection) = (size_of::<T>().max(1), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping, wherever the kernel has room for it.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, file, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let data = NonNull::new(mapped.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Shared { data })
    }
}

impl<T: SharedData> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping has room for a `T`, is aligned to a page, holds a valid value
        // from its first moment, and lives as long as `self`.
        unsafe { self.data.as_ref() }
    }
}

impl<T: SharedData> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: it was mapped with that size, and nothing borrows from it.
        unsafe { libc::munmap(self.data.as_ptr().cast(), size_of::<T>().max(1)) };
    }
}

impl<T: SharedData + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Returns the credentials of the process that connected. The user is `u32::MAX` if the
/// socket is not a Unix socket.
///
/// rustix has this call too, but returns an error for a process of another pid namespace,
/// whose number is 0.
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = SIZE_OF_CREDENTIALS;
    // SAFETY: both pointers are valid for writes, of `length` bytes for the first, and
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

/// 12 on every Linux system.
#[allow(clippy::cast_possible_truncation)]
const SIZE_OF_CREDENTIALS: libc::socklen_t = size_of::<libc::ucred>() as libc::socklen_t;

/// Sets an option of `tcp(7)` with a numeric value that no library offers.
pub(crate) fn set_tcp_option(socket: BorrowedFd<'_>, option: i32, value: i32) -> io::Result<()> {
    set_socket_option(socket, libc::IPPROTO_TCP, option, &value.to_ne_bytes())
}

/// Sets a socket option. Libraries offer options by name, each with a type of its own; a
/// handler names them by number.
pub(crate) fn set_socket_option(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    value: &[u8],
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer is valid for reads of that many bytes, and the kernel keeps
    // it no longer than the call.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads a socket option into `value`, and returns the number of bytes.
pub(crate) fn socket_option(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    value: &mut [u8],
) -> io::Result<usize> {
    let mut length =
        libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: both pointers are valid for writes, of `length` bytes for the first, and any
    // bytes are valid.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok((length as usize).min(value.len())) } else { Err(io::Error::last_os_error()) }
}

/// Returns the number of datagrams that a socket has dropped, because they were damaged or
/// the queue was full: `SO_MEMINFO` of the kernel, the same number that `SO_RXQ_OVFL` of
/// `socket(7)` reports with each datagram. It wraps around after 2<sup>32</sup>.
///
/// No library offers it.
pub(crate) fn dropped_datagrams(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // `SK_MEMINFO_DROPS` and `SK_MEMINFO_VARS` of `linux/sock_diag.h`.
    const DROPS: usize = 8;
    let mut numbers = [0_u32; DROPS + 1];
    #[allow(clippy::cast_possible_truncation, reason = "36 bytes")]
    let mut length = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: both pointers are valid for writes, of `length` bytes for the first, and any
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

/// 4 on every Linux system.
#[allow(clippy::cast_possible_truncation)]
const SIZE_OF_NUMBER: libc::socklen_t = size_of::<i32>() as libc::socklen_t;

/// Makes the kernel refuse messages that pass descriptors to this Unix socket, and to
/// the connections that it accepts: `SO_PASSRIGHTS`.
///
/// # Errors
///
/// `ENOPROTOOPT` before Linux 6.16.
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

/// The parts of a received message beside its data.
pub(crate) struct Message {
    /// The address of the sender, of length 0 if it has none.
    pub address: SockAddr,
    /// The credentials of the sender, from a socket that has `SO_PASSCRED`.
    pub sender: Option<libc::ucred>,
    /// The passed descriptors, closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

/// The most descriptors that one message can pass: `SCM_MAX_FD` of the kernel.
const MAX_DESCRIPTORS: usize = 253;

/// Receives a message into the spare capacity of `data`.
///
/// With `with_descriptors` the control buffer has room for all descriptors that can be
/// passed. Otherwise it has room for the credentials of the sender only, and the
/// kernel closes passed descriptors.
///
/// rustix has the flaw that [`peer_credentials`] avoids, and nix returns uninitialised
/// memory as the address of an unnamed client.
pub(crate) fn receive_message(
    socket: BorrowedFd<'_>,
    data: &mut Vec<u8>,
    flags: RecvFlags,
    with_descriptors: bool,
) -> io::Result<Message> {
    // Larger than necessary, and aligned.
    let mut control = [0_u64; 8 + MAX_DESCRIPTORS.div_ceil(2)];
    let spare = data.spare_capacity_mut();
    let mut buffer = libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: spare.len() };
    // SAFETY: it consists of numbers and pointers, all of which may be zero.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut buffer;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: it computes a number.
    let for_credentials = unsafe { libc::CMSG_SPACE(SIZE_OF_CREDENTIALS) };
    // A `usize` or a `u32`, depending on the C library.
    message.msg_controllen =
        if with_descriptors { size_of_val(&control) as _ } else { for_credentials as _ };
    let flags = flags.bits().cast_signed() | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `storage` is valid for writes of `length` bytes, and so are `buffer`
    // and `control` for their lengths; the kernel sets the length of the address.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            message.msg_name = storage.cast();
            message.msg_namelen = *length;
            let received = libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags);
            let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
            *length = message.msg_namelen;
            // SAFETY: the kernel has written that many bytes, at most the spare capacity.
            data.set_len(data.len() + received);
            Ok(())
        })
    }?;
    let (mut sender, mut descriptors) = (None, Vec::new());
    // SAFETY: the kernel has filled `control`, and has set its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: it is null, or points to a header in `control`.
    while let Some(control_message) = unsafe { header.as_ref() } {
        // SAFETY: both compute only; the content follows the header, with its length.
        let (content, empty) = unsafe { (libc::CMSG_DATA(header), libc::CMSG_LEN(0)) };
        let length = control_message.cmsg_len.saturating_sub(empty as _);
        #[allow(clippy::unnecessary_cast, reason = "a `u32` with other C libraries")]
        let length = length as usize;
        match (control_message.cmsg_level, control_message.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                // SAFETY: the content has that many bytes, and any bytes are valid credentials.
                sender = Some(unsafe { content.cast::<libc::ucred>().read_unaligned() });
            }
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                let count = length / size_of::<RawFd>();
                descriptors.extend((0..count).map(|index| {
                    // SAFETY: the kernel has made a descriptor for each of the numbers, and
                    // no other code of this process knows them.
                    unsafe {
                        let number = content.add(index * size_of::<RawFd>());
                        OwnedFd::from_raw_fd(ptr::read_unaligned(number.cast()))
                    }
                }));
            }
            _ => {}
        }
        // SAFETY: both belong to the message that the kernel has filled.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(Message { address, sender, descriptors })
}
