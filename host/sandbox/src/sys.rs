//! The unsafe code of this crate.

use std::io;
use std::mem::MaybeUninit;
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

/// Returns the page faults of this thread so far.
pub(crate) fn page_faults_of_this_thread() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel writes the structure, or leaves it as it is. It consists of numbers, for
    // which zero is a value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    (usage.ru_minflt + usage.ru_majflt).unsigned_abs()
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

/// The largest part of a program that is moved into huge pages, in bytes. Each fork copies an
/// entry for each huge page.
const MAX_PROGRAM: usize = 64 << 20;

/// Moves the code and the constants of this program into huge pages, and returns the number of
/// bytes that were moved: 0 if the kernel has no transparent huge pages (`never`), or is older
/// than Linux 6.1.
///
/// A forked child maps the file of its program anew, with a page fault for each 64 KiB that it
/// touches: some 30 for a request. Anonymous huge pages are mapped by the fork itself. A program
/// whose segments begin at multiples of 2 MiB (the linker's `max-page-size`) has most in them.
///
/// The copy takes memory of its own, and tools that read `/proc/PID/maps` no longer find the
/// file at these addresses. So a program calls this, and not a library.
pub fn keep_program_in_huge_pages() -> usize {
    let setting = |name: &str| {
        std::fs::read_to_string(format!("/sys/kernel/mm/transparent_hugepage/{name}")).ok()
    };
    let enabled = setting("enabled").is_some_and(|enabled| !enabled.contains("[never]"));
    let size = setting("hpage_pmd_size").and_then(|size| size.trim().parse().ok());
    let Some(size) = size.filter(|size: &usize| enabled && size.is_power_of_two()) else {
        return 0;
    };
    program_segments()
        .into_iter()
        .filter_map(|segment| {
            let begin = segment.begin.checked_next_multiple_of(size)?;
            let length = segment.end.checked_sub(begin)? / size * size;
            let fits = (size..=MAX_PROGRAM).contains(&length);
            // SAFETY: the range lies in a segment of the program that is never written.
            (fits && unsafe { move_into_huge_pages(begin, length, segment.protection, size) })
                .then_some(length)
        })
        .sum()
}

/// A part of the program that is mapped from its file, and is never written.
struct Segment {
    begin: usize,
    end: usize,
    protection: libc::c_int,
}

/// Returns the segments of the program itself that are readable and not writable
/// ([`dl_iterate_phdr(3)`]).
///
/// [`dl_iterate_phdr(3)`]: https://man7.org/linux/man-pages/man3/dl_iterate_phdr.3.html
fn program_segments() -> Vec<Segment> {
    /// Reads the segments of the first object, which is the program, and ends the iteration.
    unsafe extern "C" fn read_first(
        object: *mut libc::dl_phdr_info,
        _: libc::size_t,
        segments: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the C library passes a valid object with its headers, and the caller below
        // passes a list.
        let (object, segments, headers) = unsafe {
            let object = &*object;
            let headers = std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
            (object, &mut *segments.cast::<Vec<Segment>>(), headers)
        };
        for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
            if header.p_flags & (libc::PF_R | libc::PF_W) != libc::PF_R {
                continue;
            }
            let is_code = header.p_flags & libc::PF_X != 0;
            let number = |value| usize::try_from(value).unwrap_or(usize::MAX);
            let begin = number(object.dlpi_addr).wrapping_add(number(header.p_vaddr));
            segments.push(Segment {
                begin,
                end: begin.saturating_add(number(header.p_filesz)),
                protection: libc::PROT_READ | if is_code { libc::PROT_EXEC } else { 0 },
            });
        }
        1
    }
    let mut segments: Vec<Segment> = Vec::new();
    // SAFETY: `read_first` gets the list that it expects, and does not keep it.
    unsafe { libc::dl_iterate_phdr(Some(read_first), (&raw mut segments).cast()) };
    segments
}

/// Replaces a range of memory by a copy of itself in huge pages of `size` bytes. Returns false,
/// and changes nothing, if there are none.
///
/// # Safety
///
/// The range is mapped and readable, is never written, and has the given protection. `begin` and
/// `length` are multiples of `size`.
unsafe fn move_into_huge_pages(
    begin: usize,
    length: usize,
    protection: libc::c_int,
    size: usize,
) -> bool {
    let (read_write, anonymous) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the new mapping is at an address that the kernel chooses, and no other code knows
    // it. The range and its copy do not overlap. `mremap` puts the copy in the place of the range
    // in one step: threads that run code there see the same bytes before and after.
    unsafe {
        let new = libc::mmap(ptr::null_mut(), length + size, read_write, anonymous, -1, 0);
        if new == libc::MAP_FAILED {
            return false;
        }
        let copy = new.byte_add(new.addr().wrapping_neg() % size);
        let _ = libc::madvise(copy, length, libc::MADV_HUGEPAGE);
        ptr::copy_nonoverlapping(ptr::with_exposed_provenance(begin), copy.cast::<u8>(), length);
        let moved = libc::madvise(copy, length, libc::MADV_COLLAPSE) == 0
            && libc::mprotect(copy, length, protection) == 0
            && libc::mremap(
                copy,
                length,
                length,
                libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                ptr::with_exposed_provenance_mut::<libc::c_void>(begin),
            ) != libc::MAP_FAILED;
        // What is left of the new mapping: the edges around the copy, or all of it.
        if moved {
            let edge = copy.addr() - new.addr();
            libc::munmap(new, edge);
            libc::munmap(copy.byte_add(length), size - edge);
        } else {
            libc::munmap(new, length + size);
        }
        moved
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

    /// Returns the artifact with other initial content of a memory. `place` is that of a memory's
    /// image in the section that has the data of memories and nothing else.
    pub(crate) fn with_data(&self, place: u64, data: &[u8]) -> Option<Self> {
        let mut bytes = self.0.clone();
        let begin = usize::try_from(place).ok()?;
        bytes.get_mut(begin..begin.checked_add(data.len())?)?.copy_from_slice(data);
        Some(Artifact(bytes))
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
        // SAFETY: the bytes are what `precompile_component` returned: the four ways to
        // create an `Artifact` see to that. `deserialize` checks that the engine fits.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}
