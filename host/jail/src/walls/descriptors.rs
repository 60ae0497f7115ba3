//! Closing the descriptors that the process does not need.

use std::io;
use std::os::fd::RawFd;

use crate::config::Descriptors;
use crate::sys;

pub(crate) use crate::sys::inherited;

/// The first descriptor after the standard streams.
const FIRST: RawFd = 3;

/// Closes the descriptors that are not to be kept. No process in the jail needs the
/// `unneeded`.
pub(crate) fn close(
    descriptors: &Descriptors<'_>,
    unneeded: impl Iterator<Item = RawFd>,
) -> io::Result<()> {
    match descriptors {
        Descriptors::All => Ok(()),
        Descriptors::Only(keep) => close_all_except(keep),
        Descriptors::Except(close) => {
            close.iter().copied().chain(unneeded).try_for_each(|fd| sys::close_range(fd, fd))
        }
    }
}

/// Closes all descriptors except the standard streams and these. The standard streams stay
/// open because other code relies on their numbers.
fn close_all_except(keep: &[RawFd]) -> io::Result<()> {
    let mut next = FIRST;
    let mut keep = keep.to_vec();
    keep.sort_unstable();
    for fd in keep.into_iter().filter(|fd| *fd >= FIRST) {
        if fd > next {
            sys::close_range(next, fd - 1)?;
        }
        next = fd + 1;
    }
    sys::close_range(next, RawFd::MAX)
}
