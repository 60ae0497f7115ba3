//! Calls that only the C library offers: forking, shared memory and signal stacks. All unsafe code
//! of this crate is here and in `listen/sys.rs`.

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
use rustix::process::{Pid, getpid};

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
