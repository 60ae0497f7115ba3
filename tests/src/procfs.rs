//! Facts about a process from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Returns the children of the process `pid`.
///
/// # Errors
///
/// The process has ended.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    children.split_whitespace().map(|pid| Ok(pid.parse()?)).collect()
}

/// Returns the value of `field` in `/proc/PID/status` (`proc_pid_status(5)`), such as
/// `Seccomp`, with its fields separated by single spaces.
///
/// # Errors
///
/// The process has ended, or the kernel shows no such field.
pub fn status(pid: u32, field: &str) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.with_context(|| format!("/proc/{pid}/status has no {field}"))?;
    Ok(value.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Returns the state of the process `pid` as the kernel shows it, such as `S` for sleeping
/// (`proc_pid_stat(5)`).
///
/// # Errors
///
/// The process has ended and its parent has waited for it.
pub fn state(pid: u32) -> Result<char> {
    status(pid, "State")?.chars().next().context("the kernel shows no state")
}

/// Returns how often the threads of the process `pid` have been switched, or `None` if one of
/// them runs or waits for a processor. Between two equal numbers no thread has run.
///
/// # Errors
///
/// The process has ended.
pub fn switches_if_asleep(pid: u32) -> Result<Option<u64>> {
    let mut switches = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let value = |field: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            value.map(str::trim).with_context(|| format!("the kernel shows no {field}"))
        };
        if !value("State")?.starts_with('S') {
            return Ok(None);
        }
        for kind in ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"] {
            switches += value(kind)?.parse::<u64>()?;
        }
    }
    Ok(Some(switches))
}

/// Returns whether the process `pid` sleeps in `poll(2)`. If the kernel hides where it sleeps
/// (`proc_pid_wchan(5)`), any sleep counts.
///
/// # Errors
///
/// The process has ended.
pub fn is_in_poll(pid: u32) -> Result<bool> {
    let place = fs::read_to_string(format!("/proc/{pid}/wchan"))?;
    Ok(state(pid)? == 'S' && (place == "0" || place.contains("poll")))
}

/// Returns a size in `/proc/PID/status`, such as `VmRSS`, in bytes.
///
/// # Errors
///
/// The process has ended, or the kernel shows no such size.
pub fn memory(pid: u32, field: &str) -> Result<u64> {
    bytes(&status(pid, field)?)
}

/// Returns how much memory the process `pid` has written to and shares with no other
/// process, in bytes.
///
/// # Errors
///
/// The process has ended, or belongs to another user.
pub fn private_memory(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    bytes(private.context("there is no Private_Dirty")?)
}

/// Returns true if a signal has stopped all threads of the process `pid`.
///
/// # Errors
///
/// The process has ended.
pub fn is_stopped(pid: u32) -> Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.file_name().to_string_lossy().parse()?;
        // A thread that has ended is none of the process.
        if state(thread).is_ok_and(|state| state != 'T') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the CPU time that a process, the children that it has reaped, and its children
/// that still run have used, in steps of 10 ms (`proc_pid_stat(5)`).
///
/// # Errors
///
/// The process has ended.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let mut ticks = 0;
    for pid in children(pid)?.into_iter().chain([pid]) {
        // A child may have ended since it was listed.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let (_, fields) = stat.rsplit_once(')').context("a stat file without a name")?;
        // Fields 14 to 17 are utime, stime, cutime and cstime. The first two were cut off.
        for field in fields.split_whitespace().skip(11).take(4) {
            ticks += field.parse::<u64>()?;
        }
    }
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

/// Returns the page faults of a process that did not wait for a disk (`proc_pid_stat(5)`).
///
/// # Errors
///
/// The process has ended.
pub fn page_faults(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("a stat file without a name")?;
    // Field 10 is minflt. The first two were cut off.
    Ok(fields.split_whitespace().nth(7).context("a short stat file")?.parse()?)
}

fn bytes(text: &str) -> Result<u64> {
    let kibibytes = text.trim().strip_suffix("kB").context("the size is not in kB")?;
    Ok(kibibytes.trim().parse::<u64>()? << 10)
}
