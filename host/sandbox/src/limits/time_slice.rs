//! The time slice of a thread whose guest computes for long.

use crate::sys::set_time_slice;

/// The short time slice, in nanoseconds.
const SHORT: u64 = 200_000;

/// The value that stands for the kernel's default.
const KERNEL_DEFAULT: u64 = 0;

/// The time slice that a thread that runs a guest has asked the kernel for.
///
/// A short request waits behind the time slice of each long one, which is 1 to 3 ms by the
/// kernel's default. Short time slices for all threads would help as well, but then the
/// threads of short requests interrupt each other and their clients, which costs a tenth
/// of the requests per second.
#[derive(Debug, Default)]
pub(crate) struct TimeSlice {
    is_short: bool,
}

impl TimeSlice {
    /// Gives this thread a short time slice until `self` is dropped, which must happen in
    /// the same thread.
    pub(crate) fn shorten(&mut self) {
        if !self.is_short {
            self.is_short = true;
            set_time_slice(SHORT);
        }
    }
}

impl Drop for TimeSlice {
    fn drop(&mut self) {
        if self.is_short {
            set_time_slice(KERNEL_DEFAULT);
        }
    }
}
