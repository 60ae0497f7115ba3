//! The unsafe code of this crate.

use std::io;
use std::ptr;
use std::time::Duration;

use signal_hook::SigId;
use signal_hook::consts::SIGPROF;
use signal_hook::low_level::unregister;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Counts the epochs of an engine whenever the process has used some CPU time,
/// from [`start`](Self::start) on. Forked processes inherit this, but not the
/// timer.
pub(crate) struct EpochsByTimer {
    action: SigId,
    interval: Duration,
}

impl EpochsByTimer {
    /// Takes `SIGPROF`, for an epoch for each `interval` of CPU time.
    pub(crate) fn new(engine: &Engine, interval: Duration) -> io::Result<Self> {
        let engine = engine.clone();
        // SAFETY: what it calls is documented as safe in a signal handler: it
        // adds one to an atomic number.
        let action =
            unsafe { signal_hook::low_level::register(SIGPROF, move || engine.increment_epoch()) };
        Ok(EpochsByTimer { action: action?, interval })
    }

    /// Starts the timer of this process.
    pub(crate) fn start(&self) -> io::Result<()> {
        let interval = libc::timeval {
            tv_sec: i64::try_from(self.interval.as_secs()).unwrap_or(i64::MAX),
            tv_usec: i64::from(self.interval.subsec_micros()),
        };
        let timer = libc::itimerval { it_interval: interval, it_value: interval };
        // SAFETY: the first pointer is to a value of the right type; the second
        // may be null.
        match unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for EpochsByTimer {
    fn drop(&mut self) {
        unregister(self.action);
    }
}

/// Sets how long this thread may run, in nanoseconds, before it is another's turn; 0
/// for as long as the kernel thinks fit. It gets as much of the processor as before,
/// in other pieces.
///
/// Linux has this from 6.12 on (`sched_runtime` of `sched_setattr(2)`), for threads
/// that are not real-time ones; elsewhere nothing changes.
pub(crate) fn set_turns(nanos: u64) {
    /// `SCHED_FLAG_KEEP_POLICY`: whoever runs the server may have chosen one.
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
    // SAFETY: the structure is as long as it says, and is only read.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// A compiled component: machine code, which runs as it is.
///
/// One is made by compiling, here or in a process of our own
/// ([`of_compiler`](Self::of_compiler)), or by
/// [`of_private_cache`](Self::of_private_cache), and by nothing else.
pub(crate) struct Artifact(Vec<u8>);

impl Artifact {
    /// Compiles a component, given as a binary.
    pub(crate) fn compile(engine: &Engine, binary: &[u8]) -> wasmtime::Result<Self> {
        Ok(Artifact(engine.precompile_component(binary)?))
    }

    /// Takes what `Artifact::compile` once made and the cache has kept. The
    /// caller has made sure of it: the entry lay in a directory, and was a file,
    /// that only the user of this process can write to, its digest is right,
    /// and its name holds the engine's version and settings.
    pub(crate) fn of_private_cache(bytes: Vec<u8>) -> Self {
        Artifact(bytes)
    }

    /// Takes what `Artifact::compile` has made in another process, which runs a
    /// program that is trusted as this one is. The answer was whole.
    pub(crate) fn of_compiler(bytes: Vec<u8>) -> Self {
        Artifact(bytes)
    }

    /// What the cache keeps.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Makes it a component that can be instantiated.
    ///
    /// Errors: it is not of this version of the engine, or needs more than the
    /// engine's pool has.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are what `precompile_component` returned: that is
        // what the three ways to make an `Artifact` are for. That the engine is a
        // fitting one is checked.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}
