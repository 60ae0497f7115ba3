//! Tables of the system calls that serving or compiling needs, and of those that only an
//! attack would make.

use libc::c_long;

use super::program::{Action, Condition};

/// The number of the architecture, as `AUDIT_ARCH_*` in `linux/audit.h` has it. `None` on
/// an architecture that these tables do not cover.
pub(super) const ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Calls of every process: memory, time, signals, waiting, its end.
pub(super) const ALWAYS: &[c_long] = &[
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

/// Calls of every process that serves: it reads properties of its sockets, and a timer counts
/// its CPU time.
pub(super) const SERVING: &[c_long] =
    &[libc::SYS_getpeername, libc::SYS_getsockname, libc::SYS_getsockopt, libc::SYS_setitimer];

/// Calls of every process, with a condition on an argument.
pub(super) const ALWAYS_WITH_CONDITION: &[(c_long, Condition)] = &[
    // No new code: no executable memory.
    (libc::SYS_mmap, Condition::NoneOf { argument: 2, bits: EXECUTABLE }),
    (libc::SYS_mprotect, Condition::NoneOf { argument: 2, bits: EXECUTABLE }),
    // `abort` signals its own thread.
    (libc::SYS_tgkill, Condition::OwnProcess { argument: 0 }),
    (
        libc::SYS_prctl,
        Condition::OneOf { argument: 0, values: &[libc::PR_SET_NAME.cast_unsigned()] },
    ),
    (
        libc::SYS_fcntl,
        Condition::OneOf {
            argument: 1,
            values: &[libc::F_GETFD.cast_unsigned(), libc::F_GETFL.cast_unsigned()],
        },
    ),
];

const EXECUTABLE: u32 = libc::PROT_EXEC.cast_unsigned();

/// Calls on a connection. A process for one datagram may not make these calls, because
/// all requests share the socket. For the same reason no table has the other calls that
/// receive, nor `sendmsg`, which passes descriptors to other processes.
pub(super) const CONNECTION: &[c_long] =
    &[libc::SYS_read, libc::SYS_recvfrom, libc::SYS_setsockopt, libc::SYS_shutdown];

/// Further calls of a worker: its threads wait for connections, accept them, and wake each
/// other. The memory that a fiber touches is known by the page faults of its thread.
pub(super) const WORKER: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_getrusage,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    // The load of the machine.
    libc::SYS_sysinfo,
];

/// Further calls of the process that forks for each request: it accepts connections, forks,
/// waits for its children and counts its threads. These calls are of no use to a
/// child: the other walls leave it the descriptor of its request, and neither new
/// descriptors nor processes.
pub(super) const PARENT: &[(c_long, Action)] = &[
    (libc::SYS_accept4, Action::Allow),
    // The flags are those of `fork` in the C libraries, GNU and musl.
    (
        libc::SYS_clone,
        Action::AllowIf(Condition::OneOf { argument: 0, values: &[0x0120_0011, 0x11] }),
    ),
    (libc::SYS_epoll_ctl, Action::Allow),
    (libc::SYS_epoll_pwait, Action::Allow),
    (libc::SYS_epoll_pwait2, Action::Allow),
    (libc::SYS_fstat, Action::Allow),
    (libc::SYS_pidfd_open, Action::Allow),
    // The parent kills a child at its deadline: SIGKILL only, and no process group.
    (
        libc::SYS_pidfd_send_signal,
        Action::AllowIf(Condition::All(&[(1, libc::SIGKILL.cast_unsigned()), (3, 0)])),
    ),
    (libc::SYS_read, Action::Allow),
    (libc::SYS_recvfrom, Action::Allow),
    (libc::SYS_rseq, Action::Allow),
    (libc::SYS_set_robust_list, Action::Allow),
    (libc::SYS_sysinfo, Action::Allow),
    (libc::SYS_wait4, Action::Allow),
    (libc::SYS_waitid, Action::Allow),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_epoll_wait, Action::Allow),
    #[cfg(all(target_arch = "x86_64", target_env = "musl"))]
    (libc::SYS_fork, Action::Allow),
];

/// Calls by which a child enters, before code of a handler runs in it. Afterwards these
/// calls only take more rights away.
pub(super) const ENTERING: &[(c_long, Action)] = &[
    (libc::SYS_capget, Action::Allow),
    (libc::SYS_capset, Action::Allow),
    // A closed descriptor 0 would leave a number free for a new one.
    (libc::SYS_close, Action::AllowIf(Condition::AtLeast { argument: 0, minimum: 1 })),
    (libc::SYS_close_range, Action::AllowIf(Condition::AtLeast { argument: 0, minimum: 1 })),
    // The limits of this process only.
    (libc::SYS_prlimit64, Action::AllowIf(Condition::OneOf { argument: 0, values: &[0] })),
    // The signal at the end of the parent can be set and not be taken back.
    (libc::SYS_prctl, Action::AllowIf(Condition::Pairs(PRCTL_WHILE_ENTERING))),
    (
        libc::SYS_setns,
        Action::AllowIf(Condition::OneOf {
            argument: 1,
            values: &[libc::CLONE_NEWPID.cast_unsigned()],
        }),
    ),
];

const PRCTL_WHILE_ENTERING: &[(u32, Option<u32>)] = &[
    (libc::PR_SET_NO_NEW_PRIVS.cast_unsigned(), None),
    (libc::PR_GET_PDEATHSIG.cast_unsigned(), None),
    (libc::PR_SET_PDEATHSIG.cast_unsigned(), Some(libc::SIGKILL.cast_unsigned())),
];

/// The option of `setsockopt` that the parent resets on received descriptors.
pub(super) const LINGER: Condition =
    Condition::OneOf { argument: 2, values: &[libc::SO_LINGER.cast_unsigned()] };

/// The operation of `seccomp` by which a child installs a filter of its own.
pub(super) const SET_FILTER: Condition =
    Condition::OneOf { argument: 0, values: &[libc::SECCOMP_SET_MODE_FILTER] };

/// Calls by which a child becomes another user. Afterwards it has no right to change its user
/// again.
pub(super) const CHANGING_USER: &[c_long] = &[
    libc::SYS_geteuid,
    libc::SYS_getgroups,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_setgroups,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
];

/// Starting threads, and no processes. A filter cannot read the arguments of `clone3`, which
/// lie in memory. Without `clone3` the C library calls `clone`. The flags are those of the C
/// libraries, GNU and musl.
pub(super) const THREADS: &[(c_long, Action)] = &[
    (
        libc::SYS_clone,
        Action::AllowIf(Condition::OneOf { argument: 0, values: &[0x003d_0f00, 0x007d_0f00] }),
    ),
    (libc::SYS_clone3, Action::Errno(libc::ENOSYS)),
];

/// The `ioctl(2)` that reports which pages of a memory were written, so that the engine
/// clears only those: `PAGEMAP_SCAN(2const)`. The crate `libc` does not name it.
pub(super) const PAGEMAP_SCAN: u32 = 0xc060_6610;

/// Reading files, if some are granted; Landlock knows which. `read(2)` is missing because it
/// would also take the datagrams of other requests: the host reads files at an offset, which
/// fails for sockets.
pub(super) const READING_FILES: &[c_long] = &[
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

/// Sending a granted file on a connection. The kernel refuses to read from a socket with it.
pub(super) const SENDING_FILES: &[c_long] = &[libc::SYS_sendfile];

/// The `ioctl(2)` that sets `O_NONBLOCK` and nothing else: `sendfile(2)` has no flag for it.
pub(super) const FIONBIO: u32 = 0x5421;

/// Changing files, if that is granted too.
pub(super) const CHANGING_FILES: &[c_long] = &[
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

/// Unix sockets only, for `socketpair`.
pub(super) const UNIX_SOCKETS: Condition =
    Condition::OneOf { argument: 0, values: &[libc::AF_UNIX.cast_unsigned()] };

/// Not on the standard streams, which may be Unix sockets.
pub(super) const NO_STANDARD_STREAM: Condition = Condition::AtLeast { argument: 0, minimum: 3 };

/// Further calls of a broker: on sockets, and those of its threads.
pub(super) const BROKER: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_pipe2,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_rseq,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// Further calls of a broker, with a condition on an argument.
pub(super) const BROKER_WITH_CONDITION: &[(c_long, Condition)] = &[
    (
        libc::SYS_fcntl,
        Condition::OneOf {
            argument: 1,
            values: &[
                libc::F_GETFD.cast_unsigned(),
                libc::F_GETFL.cast_unsigned(),
                libc::F_SETFD.cast_unsigned(),
                libc::F_SETFL.cast_unsigned(),
                libc::F_DUPFD_CLOEXEC.cast_unsigned(),
            ],
        },
    ),
    (libc::SYS_ioctl, Condition::OneOf { argument: 1, values: &[FIONREAD] }),
    (libc::SYS_prlimit64, Condition::OneOf { argument: 0, values: &[0] }),
    (
        libc::SYS_socket,
        Condition::OneOf {
            argument: 0,
            values: &[
                libc::AF_INET.cast_unsigned(),
                libc::AF_INET6.cast_unsigned(),
                libc::AF_UNIX.cast_unsigned(),
                // A lookup asks the kernel for the addresses of this machine.
                libc::AF_NETLINK.cast_unsigned(),
            ],
        },
    ),
    (libc::SYS_socketpair, UNIX_SOCKETS),
];

/// The `ioctl(2)` that reports how many bytes there are to read.
const FIONREAD: u32 = 0x541b;

/// Further calls of a broker that looks up names. The C library loads libraries for that, which
/// takes executable memory.
pub(super) const LOOKING_UP: &[c_long] = &[
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getuid,
    libc::SYS_mmap,
    libc::SYS_recvmmsg,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
];

/// Calls that end the process. No library makes them unasked.
pub(super) const KILLING: &[c_long] = &[
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
