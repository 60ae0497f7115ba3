//! Options of the hidden command that compiles a handler.

use clap::Args;
use socketserver_jail::JailMode;
use socketserver_sandbox::BoundsChecks;

use super::words;

/// The limits of the compiler, and the engine that it compiles for.
#[derive(Debug, Clone, Args)]
pub struct CompileOptions {
    /// Limit the address space, in bytes.
    #[arg(long)]
    pub memory: u64,
    /// Limit the CPU time, in seconds.
    #[arg(long)]
    pub seconds: u64,
    /// Compile with these bounds checks.
    #[arg(long)]
    pub bounds_checks: BoundsChecks,
    /// Compile for memories into which data segments are copied.
    #[arg(long)]
    pub copy_data: bool,
    /// Read a set of compiled functions of this many bytes before the handler.
    #[arg(long)]
    pub functions: u64,
    /// Enter the jail in this mode.
    #[arg(long, value_parser = words::jail())]
    pub jail: JailMode,
}
