//! The messages of a service manager such as systemd to a process: sockets that it has
//! bound (`sd_listen_fds(3)`), and the address for reports (`sd_notify(3)`).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::process;
use std::time::Duration;

use thiserror::Error;

use crate::sys;
use crate::text::printable;

/// The most sockets that are passed.
const MAX_SOCKETS: u32 = 1024;

/// The name of a socket without a name.
const UNNAMED: &str = "unknown";

/// The longest name of a socket, in bytes, as in systemd.
const MAX_NAME: usize = 255;

/// The longest value in an error, in bytes.
const MAX_SHOWN: usize = 100;

/// A descriptor that the service manager has passed, and its name.
#[derive(Debug)]
pub struct PassedSocket {
    /// The name, `FileDescriptorName=` of `systemd.socket(5)`. Several sockets can have one
    /// name.
    pub name: String,
    /// The descriptor. It is closed in programs that this process starts.
    pub fd: OwnedFd,
}

/// The messages of the service manager to this process.
#[derive(Debug, Default)]
pub struct ServiceEnvironment {
    /// The sockets, in the order of the manager.
    pub sockets: Vec<PassedSocket>,
    /// The address of the socket that takes reports.
    pub notify_socket: Option<OsString>,
    /// The longest time between two signs of life, if the manager wants any.
    pub watchdog: Option<Duration>,
}

/// The error of variables that contradict the protocol.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// A variable has a wrong value.
    #[error(
        "the service manager has set {name} to `{}`, which is wrong: {rule}",
        printable(value, MAX_SHOWN)
    )]
    Value {
        /// The variable.
        name: &'static str,
        /// The value.
        value: String,
        /// The values that would be right.
        rule: &'static str,
    },
    /// The service manager has passed a descriptor that is not open.
    #[error("the descriptor {0}, which LISTEN_FDS promises, is not open")]
    Closed(i32),
    /// The variables cannot be removed.
    #[error("cannot take the variables of the service manager")]
    Os(#[from] io::Error),
}

/// Takes what the service manager tells this process, and removes it from the environment, so
/// that no program gets it which this process starts.
///
/// A program calls it once, at its beginning, when it has one thread and no descriptors of its
/// own.
///
/// # Errors
///
/// A variable is wrong, or this process has other threads.
pub fn take_environment() -> Result<ServiceEnvironment, ServiceError> {
    let [pid, fds, names, _, notify_socket, watchdog, watchdog_pid] = sys::take_variables([
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        // Has the inode of this process, in newer versions of systemd.
        "LISTEN_PIDFDID",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
    ])?;
    // The variables of a parent are not for this process.
    let is_for_this = |pid: &OsStr| pid.to_str() == Some(&process::id().to_string());
    let mut sockets = Vec::new();
    if let (Some(fds), true) = (fds, pid.is_some_and(|pid| is_for_this(&pid))) {
        let count = number("LISTEN_FDS", &fds, "a number from 0 to 1024")?;
        let count = u32::try_from(count).ok().filter(|count| *count <= MAX_SOCKETS);
        let count = count.ok_or_else(|| wrong("LISTEN_FDS", &fds, "a number from 0 to 1024"))?;
        let names = passed_names(names.as_deref(), count as usize)?;
        let descriptors = sys::take_passed_descriptors(count).map_err(ServiceError::Closed)?;
        let passed = names.into_iter().zip(descriptors);
        sockets.extend(passed.map(|(name, fd)| PassedSocket { name, fd }));
    }
    let watchdog = watchdog.filter(|_| watchdog_pid.is_none_or(|pid| is_for_this(&pid)));
    let rule = "a number of microseconds from 1";
    let watchdog = watchdog.map(|time| match number("WATCHDOG_USEC", &time, rule)? {
        0 => Err(wrong("WATCHDOG_USEC", &time, rule)),
        time => Ok(Duration::from_micros(time)),
    });
    let notify_socket = notify_socket.filter(|address| !address.is_empty());
    Ok(ServiceEnvironment { sockets, notify_socket, watchdog: watchdog.transpose()? })
}

fn passed_names(names: Option<&OsStr>, count: usize) -> Result<Vec<String>, ServiceError> {
    let Some(names) = names else { return Ok(vec![UNNAMED.to_owned(); count]) };
    let rule = "names of printable characters, with colons between them, one for each descriptor";
    let text = names.to_str().unwrap_or_default();
    let all: Vec<_> = text.split(':').map(str::to_owned).collect();
    let is_name = |name: &String| {
        name.len() <= MAX_NAME && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    let is_right = match count {
        0 => text.is_empty(),
        _ => all.len() == count && all.iter().all(is_name),
    };
    if is_right { Ok(all) } else { Err(wrong("LISTEN_FDNAMES", names, rule)) }
}

fn number(name: &'static str, value: &OsStr, rule: &'static str) -> Result<u64, ServiceError> {
    let text = value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| wrong(name, value, rule))
}

fn wrong(name: &'static str, value: &OsStr, rule: &'static str) -> ServiceError {
    ServiceError::Value { name, value: value.to_string_lossy().into_owned(), rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_descriptor_has_a_name() {
        let names = |text: Option<&str>, count| passed_names(text.map(OsStr::new), count);
        assert_eq!(names(None, 2).unwrap(), ["unknown", "unknown"]);
        assert_eq!(names(Some("web:web:"), 3).unwrap(), ["web", "web", ""]);
        for (wrong, count) in [("web", 2), ("web:admin", 1), ("w\neb", 1), ("web", 0)] {
            let error = names(Some(wrong), count).unwrap_err().to_string();
            assert!(error.starts_with("the service manager has set LISTEN_FDNAMES"), "{error}");
        }
    }

    #[test]
    fn numbers_have_digits_only() {
        let number = |text: &str| number("LISTEN_FDS", OsStr::new(text), "a number");
        assert_eq!(number("17").unwrap(), 17);
        for wrong in ["", "+1", "-1", "1x", "99999999999999999999"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }
}
