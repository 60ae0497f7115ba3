//! The limits of an instance while it runs: memory and tables, CPU time and wall time.

pub(crate) mod cpu;
pub(crate) mod kill;
pub(crate) mod memory;
pub(crate) mod time_slice;
