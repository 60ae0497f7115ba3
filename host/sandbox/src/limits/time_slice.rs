//! The turns on the processor of a thread whose guest computes for long.

use crate::sys::set_turns;

/// How long a turn is then, in nanoseconds.
const SHORT: u64 = 200_000;

/// How long a turn is as the kernel thinks fit.
const USUAL: u64 = 0;

/// What a thread that runs a guest has asked the kernel for.
///
/// A short request waits for its turn behind each long one, for 1 to 3 ms as the
/// kernel has it. Short turns for all would help as well, but make the threads
/// of short requests interrupt each other and their clients, which costs a tenth of
/// the requests per second.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    are_short: bool,
}

impl Turns {
    /// This thread has short turns from now on, until this is dropped in it.
    pub(crate) fn shorten(&mut self) {
        if !self.are_short {
            self.are_short = true;
            set_turns(SHORT);
        }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        if self.are_short {
            set_turns(USUAL);
        }
    }
}
