//! What an engine is like: the settings that hold for all of its guests.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use wasmtime::Config;

use crate::policy::UnknownWord;

/// The settings of an [`Engine`](crate::Engine).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineSettings {
    /// How many bytes of stack a guest may use, of those that its thread has.
    /// 512 KiB by default, as in wasmtime. Values outside of
    /// [`EngineSettings::STACKS`] are brought into it.
    pub stack: usize,
    /// How a guest is held to its memory.
    pub bounds_checks: BoundsChecks,
}

/// How a guest is held to its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BoundsChecks {
    /// By the pages around it, which nobody may touch. What the processor does
    /// before it finds out, it does beyond the memory.
    #[default]
    Guarded,
    /// By a check before each access whose address is not known ahead, in a form
    /// that holds for speculation too (Spectre), and by the pages around it.
    Explicit,
}

/// All that 32 bits can address.
const ALL: u64 = 4 << 30;

/// What is reserved for a memory with explicit checks. Together with the guard
/// it has to be less than 32 bits can address: beyond that wasmtime leaves the
/// checks out.
const RESERVED: u64 = ALL - (64 << 20);
const GUARD: u64 = 32 << 20;

impl Default for EngineSettings {
    fn default() -> Self {
        EngineSettings { stack: 512 << 10, bounds_checks: BoundsChecks::Guarded }
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

    /// The stacks that a guest can be given, in bytes. The threads of
    /// `socketserver` have 2 MiB, of which the host needs some itself.
    pub const STACKS: RangeInclusive<usize> = (64 << 10)..=(1 << 20);

    /// How large a memory can become, in bytes.
    pub(crate) fn max_memory(&self) -> u64 {
        match self.bounds_checks {
            BoundsChecks::Guarded => ALL,
            BoundsChecks::Explicit => RESERVED,
        }
    }

    pub(crate) fn apply(&self, config: &mut Config) {
        config.max_wasm_stack(self.stack.clamp(*Self::STACKS.start(), *Self::STACKS.end()));
        if self.bounds_checks == BoundsChecks::Explicit {
            // Cranelift's mitigations are on unless somebody turns them off. To
            // say so would be another setting to its hash, and no more.
            config.memory_reservation(RESERVED).memory_guard_size(GUARD);
            // No memory moves, for none outgrows what is reserved; but if that
            // was said, the checks would be against the reservation and not
            // against the size.
            config.memory_may_move(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::sys::Artifact;

    /// `cmova` and `cmovae` with 64 bits: the address, or null.
    fn guarded_selects(settings: &EngineSettings) -> usize {
        let text = "(component (core module (memory 1)
            (func (export \"load\") (param i32) (result i32) (i32.load (local.get 0)))))";
        let engine = Engine::for_compiling(settings).unwrap();
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
