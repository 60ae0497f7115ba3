//! The system calls that serving, or compiling, needs, and those that nothing but an attack
//! would try.

use std::collections::BTreeMap;

use libc::c_long;

use crate::filter::{Check, Verdict};
use crate::jail::{Jail, Kind, Request};
use crate::parent::OwnFilter;

/// The number of the architecture, as `AUDIT_ARCH_*` in `linux/audit.h` has it;
/// `None` on one whose calls are not known here.
pub(crate) const ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Memory, time, signals, waiting, the end: what any process needs.
const ALWAYS: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

/// What any process needs that serves: it asks about its sockets, and a timer
/// counts its CPU time.
const SERVING: &[c_long] =
    &[libc::SYS_getpeername, libc::SYS_getsockname, libc::SYS_getsockopt, libc::SYS_setitimer];

/// What any process needs, with a look at an argument.
const CHECKED: &[(c_long, Check)] = &[
    // No new code: no memory that can be executed.
    (libc::SYS_mmap, Check::Without(2, EXECUTABLE)),
    (libc::SYS_mprotect, Check::Without(2, EXECUTABLE)),
    // `abort` signals its own thread.
    (libc::SYS_tgkill, Check::OwnProcess(0)),
    (libc::SYS_prctl, Check::OneOf(0, &[libc::PR_SET_NAME.cast_unsigned()])),
    (
        libc::SYS_fcntl,
        Check::OneOf(1, &[libc::F_GETFD.cast_unsigned(), libc::F_GETFL.cast_unsigned()]),
    ),
];

const EXECUTABLE: u32 = libc::PROT_EXEC.cast_unsigned();

/// Talking on a connection. A process for one datagram must do none of it: the
/// socket is everybody's. What else receives is nowhere here for the same reason, nor is
/// `sendmsg`, which hands descriptors to others.
const CONNECTION: &[c_long] =
    &[libc::SYS_read, libc::SYS_recvfrom, libc::SYS_setsockopt, libc::SYS_shutdown];

/// What a worker does beside: accepting, and waking its own threads.
const WORKER: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_eventfd2,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    // How busy the machine is.
    libc::SYS_sysinfo,
];

/// What the process does beside that forks one for each request: accepting,
/// forking, waiting for its children and counting its threads. A child cannot
/// make use of these, for the other walls leave it no descriptor but that of its
/// request, and no new descriptor and no process: see `shared`.
const PARENT: &[(c_long, Verdict)] = &[
    (libc::SYS_accept4, Verdict::Allow),
    // The flags are those of `fork` in the C libraries, GNU and musl.
    (libc::SYS_clone, Verdict::If(Check::OneOf(0, &[0x0120_0011, 0x11]))),
    (libc::SYS_epoll_ctl, Verdict::Allow),
    (libc::SYS_epoll_pwait, Verdict::Allow),
    (libc::SYS_epoll_pwait2, Verdict::Allow),
    (libc::SYS_fstat, Verdict::Allow),
    (libc::SYS_pidfd_open, Verdict::Allow),
    // Killing a child that outlives its time, and neither a group nor anything else.
    (
        libc::SYS_pidfd_send_signal,
        Verdict::If(Check::All(&[(1, libc::SIGKILL.cast_unsigned()), (3, 0)])),
    ),
    (libc::SYS_read, Verdict::Allow),
    (libc::SYS_recvfrom, Verdict::Allow),
    (libc::SYS_rseq, Verdict::Allow),
    (libc::SYS_set_robust_list, Verdict::Allow),
    (libc::SYS_sysinfo, Verdict::Allow),
    (libc::SYS_wait4, Verdict::Allow),
    (libc::SYS_waitid, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_epoll_wait, Verdict::Allow),
    #[cfg(all(target_arch = "x86_64", target_env = "musl"))]
    (libc::SYS_fork, Verdict::Allow),
];

/// What a child of it does before anything of a handler runs in it, and what does
/// nothing for it afterwards: giving up more.
const ENTERING: &[(c_long, Verdict)] = &[
    (libc::SYS_capget, Verdict::Allow),
    (libc::SYS_capset, Verdict::Allow),
    // With descriptor 0 it would have a number for a new one.
    (libc::SYS_close, Verdict::If(Check::AtLeast(0, 1))),
    (libc::SYS_close_range, Verdict::If(Check::AtLeast(0, 1))),
    // Its own limits.
    (libc::SYS_prlimit64, Verdict::If(Check::OneOf(0, &[0]))),
    // It ends with its parent, and cannot take that back.
    (libc::SYS_prctl, Verdict::If(Check::Pairs(GIVING_UP))),
    (libc::SYS_setns, Verdict::If(Check::OneOf(1, &[libc::CLONE_NEWPID.cast_unsigned()]))),
];

const GIVING_UP: &[(u32, Option<u32>)] = &[
    (libc::PR_SET_NO_NEW_PRIVS.cast_unsigned(), None),
    (libc::PR_GET_PDEATHSIG.cast_unsigned(), None),
    (libc::PR_SET_PDEATHSIG.cast_unsigned(), Some(libc::SIGKILL.cast_unsigned())),
];

/// The same, for one that becomes another user, after which it has no right to
/// these.
const BECOMING: &[c_long] = &[
    libc::SYS_geteuid,
    libc::SYS_getgroups,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_setgroups,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
];

/// Starting threads, and no processes. What is asked of `clone3` lies in memory,
/// where a filter cannot look; without it the C library takes `clone`. The flags
/// are those of the C libraries, GNU and musl.
const THREADS: &[(c_long, Verdict)] = &[
    (libc::SYS_clone, Verdict::If(Check::OneOf(0, &[0x003d_0f00, 0x007d_0f00]))),
    (libc::SYS_clone3, Verdict::Fail(libc::ENOSYS)),
];

/// Asks which pages of a memory have been touched, so that only those are
/// cleaned: `PAGEMAP_SCAN(2const)`. The C library does not name it.
const PAGEMAP_SCAN: u32 = 0xc060_6610;

/// Reading files, where some are granted; Landlock knows which. Not `read(2)`, which would
/// take the datagrams of others: files are read at an offset, which no socket has.
const FILES: &[c_long] = &[
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pread64,
    libc::SYS_readlinkat,
    libc::SYS_statx,
];

/// Changing them, where that is granted too.
const CHANGES: &[c_long] = &[
    libc::SYS_ftruncate,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_pwrite64,
    libc::SYS_pwritev2,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// What ends the process: no library does this behind one's back.
const DEADLY: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setns,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setuid,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// The verdict on each call in a process of this kind, and for that request if it is for
/// one; others fail with `EPERM`. Each call stands here once.
pub(crate) fn verdicts(
    jail: &Jail,
    kind: Kind,
    request: Option<Request>,
) -> Vec<(c_long, Verdict)> {
    let (worker, serves) = (kind == Kind::Worker, kind != Kind::Compile);
    let datagrams = match request {
        Some(request) => request == Request::Datagram,
        None => worker && jail.serves.datagrams(),
    };
    let all = |calls: &[c_long], verdict| -> Vec<(c_long, Verdict)> {
        calls.iter().map(|call| (*call, verdict)).collect()
    };
    let mut verdicts = all(ALWAYS, Verdict::Allow);
    verdicts.extend(CHECKED.iter().map(|(call, check)| (*call, Verdict::If(*check))));
    if serves {
        verdicts.extend(all(SERVING, Verdict::Allow));
        // Only datagrams are sent to an address.
        let sendto = if datagrams { Verdict::Allow } else { Verdict::If(Check::Null(4)) };
        verdicts.push((libc::SYS_sendto, sendto));
        if datagrams && jail.names_source {
            // The standard streams may be Unix sockets.
            verdicts.push((libc::SYS_sendmsg, Verdict::If(Check::AtLeast(0, 3))));
        }
    } else {
        verdicts.push((libc::SYS_read, Verdict::Allow));
    }
    if worker || request == Some(Request::Connection) {
        verdicts.extend(all(CONNECTION, Verdict::Allow));
    }
    let from_connection = request == Some(Request::Connection) && jail.takes_descriptors;
    if worker && jail.receives_messages() || from_connection {
        verdicts.push((libc::SYS_recvmsg, Verdict::Allow));
    }
    if worker {
        verdicts.extend(all(WORKER, Verdict::Allow));
        verdicts.extend(THREADS);
        verdicts.push((libc::SYS_ioctl, Verdict::If(Check::OneOf(1, &[PAGEMAP_SCAN]))));
    }
    if jail.opens() {
        verdicts.extend(all(FILES, Verdict::Allow));
    }
    if !jail.read_write.is_empty() {
        verdicts.extend(all(CHANGES, Verdict::Allow));
    }
    verdicts.extend(all(DEADLY, Verdict::Kill));
    verdicts.sort_by_key(|(call, _)| *call);
    verdicts.dedup();
    verdicts
}

/// The verdict on each call for a process that forks and for its children alike:
/// what a process for one request may do, and what else the two of them need. A
/// filter for each child would cost it more than all other walls.
///
/// `own_filter` is which of the children have one of their own nevertheless.
pub(crate) fn shared(jail: &Jail, own_filter: OwnFilter) -> Vec<(c_long, Verdict)> {
    let mut shared = BTreeMap::new();
    // In this order: what is said of sending datagrams holds for sending at all.
    if jail.serves.streams() {
        shared.extend(verdicts(jail, Kind::Request, Some(Request::Connection)));
    }
    if jail.serves.datagrams() {
        shared.extend(verdicts(jail, Kind::Request, Some(Request::Datagram)));
    }
    // It is of one process, and there are many. So `abort` ends a child by its
    // last resort, an instruction that is none.
    shared.remove(&libc::SYS_tgkill);
    shared.extend(PARENT.iter().chain(ENTERING).copied());
    if jail.receives_messages() {
        shared.insert(libc::SYS_recvmsg, Verdict::Allow);
    }
    if jail.takes_descriptors {
        // Taking it from a descriptor, before that is closed.
        const LINGER: Check = Check::OneOf(2, &[libc::SO_LINGER.cast_unsigned()]);
        shared.entry(libc::SYS_setsockopt).or_insert(Verdict::If(LINGER));
    }
    if jail.user.is_some() {
        shared.extend(BECOMING.iter().map(|call| (*call, Verdict::Allow)));
    }
    if own_filter != OwnFilter::None {
        let seccomp = Check::OneOf(0, &[libc::SECCOMP_SET_MODE_FILTER]);
        shared.insert(libc::SYS_seccomp, Verdict::If(seccomp));
    }
    if own_filter == OwnFilter::All {
        // And it is of that one.
        shared.insert(libc::SYS_tgkill, Verdict::Allow);
    }
    shared.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jail::{Mode, Serves};

    #[test]
    fn no_call_has_two_verdicts() {
        for kind in [Kind::Request, Kind::Worker, Kind::Compile] {
            for serves in [Serves::Streams, Serves::Datagrams, Serves::Both] {
                for paths in [vec![], vec!["/".into()]] {
                    let (read_only, read_write) = (paths.clone(), paths);
                    let jail = Jail { serves, read_only, read_write, ..Jail::new(Mode::Require) };
                    for request in [None, Some(Request::Connection), Some(Request::Datagram)] {
                        for pair in verdicts(&jail, kind, request).windows(2) {
                            assert!(pair[0].0 < pair[1].0, "{pair:?}");
                        }
                    }
                }
            }
        }
    }
}
