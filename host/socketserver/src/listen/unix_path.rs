//! The file of a Unix socket.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::{fs, os::unix::fs::OpenOptionsExt};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chownat, fchmod};
use rustix::io::Errno;
use socket2::{SockAddr, Socket};

use super::stale_socket;
use crate::address::{Address, UnixAddress};

/// The settings of the file of a Unix socket. In Python the program does all of this.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SocketFile {
    /// Removes the file of a server that has ended.
    pub remove_stale: bool,
    /// The permissions, without regard to the umask.
    pub mode: Option<u32>,
    /// The user and the group.
    pub owner: (Option<u32>, Option<u32>),
}

/// The path of a Unix socket in the file system.
pub(crate) struct UnixPath<'a>(&'a Path);

impl<'a> UnixPath<'a> {
    /// Returns the path of an address, if it has one.
    pub(crate) fn from_address(address: &'a Address) -> Option<Self> {
        match address {
            Address::Unix(UnixAddress::Pathname(path)) => Some(UnixPath(path)),
            _ => None,
        }
    }

    /// Binds `socket` to `address`, which has this path.
    ///
    /// Clients cannot use the socket before its file has the owner and the mode of the
    /// settings.
    pub(crate) fn bind(
        &self,
        socket: &Socket,
        address: &SockAddr,
        file: &SocketFile,
    ) -> io::Result<()> {
        // The lock lasts until the socket is bound.
        let _lock = file.remove_stale.then(|| stale_socket::remove(self.0)).transpose()?;
        let (user, group) = file.owner;
        let sets_access = file.mode.is_some() || user.is_some() || group.is_some();
        let mode = match (sets_access, file.mode) {
            (true, None) => Some(default_mode(socket)?),
            (_, mode) => mode,
        };
        if sets_access {
            // The kernel makes the file with the mode of the socket.
            fchmod(socket, Mode::empty())?;
        }
        socket.bind(address)?;
        let Some(mode) = mode else { return Ok(()) };
        self.set_access_or_remove(user, group, mode)
    }

    fn set_access_or_remove(
        &self,
        user: Option<u32>,
        group: Option<u32>,
        mode: u32,
    ) -> io::Result<()> {
        self.set_access(user, group, mode).inspect_err(|error| {
            // The file was not there before, and is of no use.
            if Errno::from_io_error(error) != Some(Errno::STALE) {
                let _ = fs::remove_file(self.0);
            }
        })
    }

    /// Sets the owner and the mode of the file that was just made with mode 0.
    ///
    /// # Errors
    ///
    /// Another file is in its place (`ESTALE`), or the kernel refuses the change.
    fn set_access(&self, user: Option<u32>, group: Option<u32>, mode: u32) -> io::Result<()> {
        // A handle to the file itself: its path may lead to another file by now.
        let handle = fs::OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::PATH | OFlags::NOFOLLOW).bits().cast_signed())
            .open(self.0)?;
        let found = handle.metadata()?;
        if !found.file_type().is_socket() || found.permissions().mode() & 0o777 != 0 {
            return Err(Errno::STALE.into());
        }
        let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
        chownat(&handle, "", user, group, AtFlags::EMPTY_PATH)?;
        let by_handle = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
        fs::set_permissions(by_handle, fs::Permissions::from_mode(mode))
    }
}

/// Returns the mode that the file would have without settings.
fn default_mode(socket: &Socket) -> io::Result<u32> {
    let mode = rustix::fs::fstat(socket)?.st_mode & 0o777;
    // `umask(2)` reads the umask only by setting it, and threads share it.
    let umask = fs::read_to_string("/proc/self/status")?
        .lines()
        .find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
    Ok(mode & !umask.unwrap_or(0o077))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A user who may change the directory can replace the socket that was just made
    /// there.
    #[test]
    fn the_file_of_another_socket_is_not_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _other = UnixListener::bind(&path).unwrap();
        let before = fs::metadata(&path).unwrap().permissions();
        let changed = UnixPath(&path).set_access_or_remove(None, None, 0o666);
        assert_eq!(Errno::from_io_error(&changed.unwrap_err()), Some(Errno::STALE));
        assert_eq!(fs::metadata(&path).unwrap().permissions(), before);
    }
}
