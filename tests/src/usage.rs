//! What a process holds.

use std::fs;

use anyhow::{Context, Result};

/// What a process holds, or a process and its children together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Children, whether they run or wait to be collected.
    pub children: usize,
    /// Resident memory, in bytes.
    pub memory: u64,
}

impl Usage {
    /// What the process `pid` holds, without its children.
    ///
    /// Errors: it is gone, or is somebody else's.
    pub fn of(pid: u32) -> Result<Usage> {
        let count = |path: &str| fs::read_dir(format!("/proc/{pid}/{path}")).map(Iterator::count);
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|text| text.trim().strip_suffix("kB"));
        Ok(Usage {
            descriptors: count("fd")?,
            threads: count("task")?,
            children: children(pid)?.len(),
            memory: kilobytes.context("there is no VmRSS")?.trim().parse::<u64>()? << 10,
        })
    }

    /// What the process `pid` and its children hold together. Children that end
    /// meanwhile do not count.
    ///
    /// Errors: it is gone, or is somebody else's.
    pub fn with_children(pid: u32) -> Result<Usage> {
        let mut all = Usage::of(pid)?;
        for child in children(pid)? {
            let child = Usage::of(child).unwrap_or_default();
            all.descriptors += child.descriptors;
            all.threads += child.threads;
            all.children += child.children;
            all.memory += child.memory;
        }
        Ok(all)
    }
}

/// How much memory the process `pid` has written to that it shares with no other, in
/// bytes.
///
/// Errors: it is gone, or is somebody else's.
pub fn private_memory(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    let kilobytes = private.and_then(|text| text.trim().strip_suffix("kB"));
    Ok(kilobytes.context("there is no Private_Dirty")?.trim().parse::<u64>()? << 10)
}

/// The children of the process `pid`.
///
/// Errors: it is gone.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    children.split_whitespace().map(|pid| Ok(pid.parse()?)).collect()
}
