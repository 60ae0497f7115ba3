//! The user and group of a Unix client.

use std::os::fd::BorrowedFd;

use crate::listen::sys;

/// The user and the group of a Unix client, as numbers of this user namespace:
/// `SO_PEERCRED` and `SCM_CREDENTIALS` of `unix(7)`.
///
/// For a connection they are the effective user and group that the process had when it
/// connected. For a datagram they are the real user and group of the sender, or those of
/// its real, effective and saved ones that the sender has named. A user of another
/// namespace who has no number here is 65534, `nobody`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerCredentials {
    /// The user.
    pub uid: u32,
    /// The group. The kernel does not report supplementary groups.
    pub gid: u32,
}

impl PeerCredentials {
    /// Returns the credentials of the process that connected.
    pub(crate) fn of_connection(socket: BorrowedFd<'_>) -> Option<Self> {
        sys::peer_credentials(socket).ok().and_then(Self::from_kernel)
    }

    /// Converts the kernel's credentials; `None` if the kernel does not know the user.
    pub(crate) fn from_kernel(credentials: libc::ucred) -> Option<Self> {
        let libc::ucred { uid, gid, .. } = credentials;
        (uid != u32::MAX).then_some(PeerCredentials { uid, gid })
    }
}
