//! The unsafe code of this crate.

use std::io;
use std::ptr;
use std::time::Duration;

use signal_hook::SigId;
use signal_hook::consts::SIGPROF;
use signal_hook::low_level::unregister;
use wasmtime::Engine;
use wasmtime::component::Component;

/// A timer that increments the epoch of an engine for each interval of CPU time that the
/// process uses, from [`start`](Self::start) on. Forked processes inherit the signal
/// handler, but not the timer.
pub(crate) struct EpochTimer {
    action: SigId,
    interval: Duration,
}

impl EpochTimer {
    /// Takes `SIGPROF`, for an epoch for each `interval` of CPU time.
    ///
    /// # Errors
    ///
    /// The signal handler cannot be set.
    pub(crate) fn new(engine: &Engine, interval: Duration) -> io::Result<Self> {
        let engine = engine.clone();
        // SAFETY: `increment_epoch` is documented as safe in a signal handler: it adds one
        // to an atomic number.
        let action =
            unsafe { signal_hook::low_level::register(SIGPROF, move || engine.increment_epoch()) };
        Ok(EpochTimer { action: action?, interval })
    }

    /// Starts the timer of this process.
    ///
    /// # Errors
    ///
    /// The kernel refuses the timer.
    pub(crate) fn start(&self) -> io::Result<()> {
        let interval = libc::timeval {
            tv_sec: i64::try_from(self.interval.as_secs()).unwrap_or(i64::MAX),
            tv_usec: i64::from(self.interval.subsec_micros()),
        };
        let timer = libc::itimerval { it_interval: interval, it_value: interval };
        // SAFETY: the first pointer is to a value of the right type; the second may be null.
        match unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for EpochTimer {
    fn drop(&mut self) {
        unregister(self.action);
    }
}

/// Sets the time slice of this thread, in nanoseconds; 0 stands for the kernel's default.
/// The thread's share of the processor stays the same.
///
/// Linux has this from 6.12 on (`sched_runtime` of `sched_setattr(2)`), for threads that are
/// not real-time ones. Elsewhere this changes nothing.
pub(crate) fn set_time_slice(nanos: u64) {
    /// `SCHED_FLAG_KEEP_POLICY`: the operator may have chosen a policy.
    const KEEP_POLICY: u64 = 0x08;
    // The first version of the kernel's structure.
    #[repr(C)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let Ok(nice) = rustix::process::getpriority_process(None) else { return };
    let attributes = SchedAttr {
        size: 48,
        policy: 0,
        flags: KEEP_POLICY,
        nice,
        priority: 0,
        runtime: nanos,
        deadline: 0,
        period: 0,
    };
    // SAFETY: `size` is the size of the structure, and the kernel only reads it.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// Makes the C library give blocks of 1 MiB and more back to the system as soon as they are
/// freed. Without this, glibc keeps the large blocks that it was asked for once, in each of
/// its arenas, for as long as the process lives: the copies of text that guests pass
/// ([`mallopt(3)`], `M_MMAP_THRESHOLD`).
///
/// The setting holds for the whole process, so a program calls this, and not a library. Other
/// C libraries need no setting.
///
/// [`mallopt(3)`]: https://man7.org/linux/man-pages/man3/mallopt.3.html
pub fn return_large_blocks() {
    // SAFETY: `mallopt` takes two numbers, and may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// A compiled component: machine code, which the engine runs without a check.
///
/// It is created by [`compile`](Self::compile) in this process, or by
/// [`from_compiler`](Self::from_compiler) and
/// [`from_private_cache`](Self::from_private_cache), and in no other way.
pub(crate) struct Artifact(Vec<u8>);

impl Artifact {
    /// Compiles a component, given as a binary.
    ///
    /// # Errors
    ///
    /// The binary is not valid, or uses features that the engine has not enabled.
    pub(crate) fn compile(engine: &Engine, binary: &[u8]) -> wasmtime::Result<Self> {
        Ok(Artifact(engine.precompile_component(binary)?))
    }

    /// Takes an artifact that `Artifact::compile` returned earlier and that the cache kept.
    /// The caller has checked that only the user of this process can write to the entry and
    /// its directory, that the digest is right, and that the key holds the engine's version
    /// and settings.
    pub(crate) fn from_private_cache(bytes: Vec<u8>) -> Self {
        Artifact(bytes)
    }

    /// Takes an artifact that `Artifact::compile` returned in another process, which runs a
    /// program that is trusted as this one is. The caller has received it whole.
    pub(crate) fn from_compiler(bytes: Vec<u8>) -> Self {
        Artifact(bytes)
    }

    /// Returns the bytes that the cache keeps.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Loads it as a component that can be instantiated.
    ///
    /// # Errors
    ///
    /// It is of another version or other settings of the engine, or needs more than the
    /// engine's pool has.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are what `precompile_component` returned: the three ways to
        // create an `Artifact` see to that. `deserialize` checks that the engine fits.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}
