//! The resources that a process holds.

use std::fs;

use anyhow::Result;

use crate::procfs::{children, memory};

/// The resources that a process holds, or a process and its children together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Children, both those that run and those that have ended and are not waited for.
    pub children: usize,
    /// Resident memory that is in no file, in bytes. Pages of a program come and go as the kernel
    /// likes.
    pub memory: u64,
}

impl Usage {
    /// Returns what the process `pid` holds, without its children.
    ///
    /// # Errors
    ///
    /// The process has ended, or belongs to another user.
    pub fn of_process(pid: u32) -> Result<Usage> {
        let count = |path: &str| fs::read_dir(format!("/proc/{pid}/{path}")).map(Iterator::count);
        Ok(Usage {
            descriptors: count("fd")?,
            threads: count("task")?,
            children: children(pid)?.len(),
            memory: memory(pid, "RssAnon")? + memory(pid, "RssShmem")?,
        })
    }

    /// Returns what the process `pid` and its children hold together. Children that end
    /// meanwhile do not count.
    ///
    /// # Errors
    ///
    /// The process has ended, or belongs to another user.
    pub fn of_process_and_children(pid: u32) -> Result<Usage> {
        let mut all = Usage::of_process(pid)?;
        for child in children(pid)? {
            let child = Usage::of_process(child).unwrap_or_default();
            all.descriptors += child.descriptors;
            all.threads += child.threads;
            all.children += child.children;
            all.memory += child.memory;
        }
        Ok(all)
    }
}
