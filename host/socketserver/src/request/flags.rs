//! The flags of calls that receive and send, by the numbers of Python's constants on Linux.

use std::io::Result;

use rustix::io::Errno;
use rustix::net::SendFlags;

const MSG_PEEK: i32 = 0x2;
const MSG_DONTWAIT: i32 = 0x40;
const MSG_WAITALL: i32 = 0x100;
const MSG_NOSIGNAL: i32 = 0x4000;
const MSG_MORE: i32 = 0x8000;

/// The flags of a call that receives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReceiveFlags {
    /// The data stays in the socket.
    pub peek: bool,
    /// The call waits for all the data that it asked for.
    pub wait_all: bool,
    /// The call does not wait.
    pub dont_wait: bool,
}

impl ReceiveFlags {
    /// Returns the flags with these numbers, or `EOPNOTSUPP` if there are others among them.
    pub(super) fn from_number(flags: i32) -> Result<Self> {
        if flags & !(MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL) != 0 {
            return Err(Errno::OPNOTSUPP.into());
        }
        Ok(ReceiveFlags {
            peek: flags & MSG_PEEK != 0,
            wait_all: flags & MSG_WAITALL != 0,
            dont_wait: flags & MSG_DONTWAIT != 0,
        })
    }
}

/// The flags of a call that sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SendingFlags {
    /// The call does not wait.
    pub dont_wait: bool,
    /// More data follows.
    pub more: bool,
}

impl SendingFlags {
    /// Returns the flags with these numbers, or `EOPNOTSUPP` if there are others among them.
    pub(super) fn from_number(flags: i32) -> Result<Self> {
        if flags & !(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE) != 0 {
            return Err(Errno::OPNOTSUPP.into());
        }
        Ok(SendingFlags { dont_wait: flags & MSG_DONTWAIT != 0, more: flags & MSG_MORE != 0 })
    }

    /// Returns the flags of `send(2)`: it never waits and never raises a signal.
    pub(super) fn to_kernel(self) -> SendFlags {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if self.more { flags | SendFlags::MORE } else { flags }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_outside_of_the_lists_are_not_supported() {
        // MSG_OOB, MSG_CTRUNC, MSG_TRUNC, MSG_ERRQUEUE, MSG_FASTOPEN, MSG_ZEROCOPY.
        for flag in [1, 8, 0x20, 0x2000, 0x2000_0000, 0x400_0000, i32::MIN, -1] {
            assert!(ReceiveFlags::from_number(flag).is_err(), "{flag:#x}");
            assert!(SendingFlags::from_number(flag).is_err(), "{flag:#x}");
        }
        assert!(ReceiveFlags::from_number(MSG_MORE).is_err());
        assert!(SendingFlags::from_number(MSG_PEEK).is_err());
        assert_eq!(ReceiveFlags::from_number(MSG_NOSIGNAL).ok(), Some(ReceiveFlags::default()));
        assert_eq!(SendingFlags::from_number(MSG_NOSIGNAL).ok(), Some(SendingFlags::default()));
    }
}
