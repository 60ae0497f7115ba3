//! The settings of an engine, which hold for all of its guests.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use wasmtime::Config;

use crate::policy::UnknownWord;

/// The settings of an [`Engine`](crate::Engine).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineSettings {
    /// Bytes of its thread's stack that a guest may use. The default is wasmtime's.
    /// The engine takes the nearest value in [`EngineSettings::STACKS`].
    pub stack: usize,
    /// The way in which a guest is confined to its memory.
    pub bounds_checks: BoundsChecks,
    /// The way in which a memory gets the data that it begins with.
    pub initial_data: InitialData,
}

/// The way in which a guest is confined to its linear memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BoundsChecks {
    /// Guard pages around the memory, which cannot be accessed. The processor may access
    /// them speculatively before it detects the fault.
    #[default]
    Guarded,
    /// A check before each access whose address is not known when the code is compiled, in a
    /// form that holds for speculation too (Spectre), and guard pages.
    Explicit,
}

/// The way in which a linear memory gets the data segments that it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialData {
    /// The compiled component is mapped into the memory, copy on write. Memories share the pages
    /// that they do not write to, and a memory takes two mappings more.
    #[default]
    Mapped,
    /// The segments are copied into each memory.
    Copied,
}

/// Bytes of the stack of a task that host calls may use, beside what the guest may.
const HOST_STACK: usize = 256 << 10;

/// The bytes that 32 bits can address.
const ADDRESSABLE: u64 = 4 << 30;

/// The bytes that a memory with explicit checks reserves. Together with the guard they must
/// be less than 32 bits can address: otherwise wasmtime leaves the checks out.
const RESERVED: u64 = ADDRESSABLE - (64 << 20);
const GUARD: u64 = 32 << 20;

impl Default for EngineSettings {
    fn default() -> Self {
        EngineSettings {
            stack: 512 << 10,
            bounds_checks: BoundsChecks::Guarded,
            initial_data: InitialData::Mapped,
        }
    }
}

impl BoundsChecks {
    /// All values.
    pub const ALL: &[BoundsChecks] = &[BoundsChecks::Guarded, BoundsChecks::Explicit];

    /// Returns the word for it, such as `guarded`.
    pub const fn as_str(self) -> &'static str {
        match self {
            BoundsChecks::Guarded => "guarded",
            BoundsChecks::Explicit => "explicit",
        }
    }
}

impl fmt::Display for BoundsChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BoundsChecks {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        BoundsChecks::ALL.iter().copied().find(|value| value.as_str() == word).ok_or(UnknownWord)
    }
}

impl EngineSettings {
    /// Returns the settings for hostile handlers, the profile `hostile`: explicit bounds
    /// checks. They belong together with [`Policy::hostile`](crate::Policy::hostile).
    pub fn hostile() -> Self {
        EngineSettings { bounds_checks: BoundsChecks::Explicit, ..EngineSettings::default() }
    }

    /// The range of [`stack`](Self::stack), in bytes. The threads of `socketserver` have
    /// 2 MiB, of which the host needs a part itself.
    pub const STACKS: RangeInclusive<usize> = (64 << 10)..=(1 << 20);

    /// Returns the number of mappings that a linear memory in use takes: its pages, and the rest of
    /// its slot. A mapped image divides the pages in three. Counted in `/proc/PID/maps`.
    pub(crate) fn mappings_per_memory(&self) -> usize {
        match self.initial_data {
            InitialData::Mapped => 4,
            InitialData::Copied => 2,
        }
    }

    /// Returns the largest size of a memory, in bytes.
    pub(crate) fn max_memory(&self) -> u64 {
        match self.bounds_checks {
            BoundsChecks::Guarded => ADDRESSABLE,
            BoundsChecks::Explicit => RESERVED,
        }
    }

    /// Applies the settings to the configuration of wasmtime.
    pub(crate) fn apply(&self, config: &mut Config) {
        let stack = self.stack.clamp(*Self::STACKS.start(), *Self::STACKS.end());
        config.max_wasm_stack(stack).async_stack_size(stack + HOST_STACK);
        config.memory_init_cow(self.initial_data == InitialData::Mapped);
        if self.bounds_checks == BoundsChecks::Explicit {
            // Cranelift's Spectre mitigations are on by default. To turn them on here would
            // only change the hash of the settings.
            config.memory_reservation(RESERVED).memory_guard_size(GUARD);
            // No memory moves, because none outgrows its reservation. But with `false` the
            // checks would be against the reservation and not against the size.
            config.memory_may_move(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::Engine;
    use crate::sys::Artifact;

    /// Counts `cmova` and `cmovae` with 64 bits, which select the address or null.
    fn guarded_selects(settings: &EngineSettings) -> usize {
        let text = "(component (core module (memory 1)
            (func (export \"load\") (param i32) (result i32) (i32.load (local.get 0)))))";
        let engine = Engine::for_compiling(settings, Arc::default()).unwrap();
        let artifact = Artifact::compile(engine.wasmtime(), text.as_bytes()).unwrap();
        let is_cmov = |code: &&[u8]| matches!(code, [0x48..=0x4f, 0x0f, 0x43 | 0x47, _]);
        artifact.bytes().windows(4).filter(is_cmov).count()
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn explicit_checks_hold_for_speculation() {
        assert_eq!(guarded_selects(&EngineSettings::default()), 0);
        assert_eq!(guarded_selects(&EngineSettings::hostile()), 1);
    }
}
