//! The limits of an instance while it runs: memory and tables, CPU time and wall time.

pub(crate) mod cpu;
pub(crate) mod kill;
pub(crate) mod memory;
pub(crate) mod time_slice;
pub(crate) mod total_memory;
pub(crate) mod touched;
