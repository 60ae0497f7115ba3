//! Who is at the other end of a Unix socket.

use std::os::fd::BorrowedFd;

use crate::sys;

/// The user and the group of a Unix client, as numbers of this user namespace:
/// `SO_PEERCRED` and `SCM_CREDENTIALS` of `unix(7)`.
///
/// For a connection they are the effective ones of the process that connected,
/// when it did. For a datagram they are the real ones of the process that sent it,
/// or whichever of its real, effective and saved ones it has named. A user of
/// another namespace, who has no number here, is 65534, `nobody`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerCredentials {
    /// The user.
    pub uid: u32,
    /// The group. The kernel does not tell the supplementary ones.
    pub gid: u32,
}

impl PeerCredentials {
    /// Those of the process that made a connection.
    pub(crate) fn of_connection(socket: BorrowedFd<'_>) -> Option<Self> {
        sys::peer_credentials(socket).ok().and_then(Self::known)
    }

    /// What the kernel says, if it says anything.
    pub(crate) fn known(credentials: libc::ucred) -> Option<Self> {
        let libc::ucred { uid, gid, .. } = credentials;
        (uid != u32::MAX).then_some(PeerCredentials { uid, gid })
    }
}
