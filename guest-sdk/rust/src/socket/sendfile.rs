//! Files of granted directories, which the kernel sends.

use super::handle::Socket;
use crate::Error;
use crate::bindings::files::socketserver::handler::sendfile::sendfile;
use crate::bindings::files::wasi::filesystem::preopens::get_directories;
use crate::bindings::files::wasi::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, OpenFlags, PathFlags,
};
use crate::bindings::socketserver::handler::sockets;
use std::io;
use std::time::{Duration, SystemTime};

/// A file of a granted directory, open for reading: what [`Socket::sendfile`] sends.
///
/// `std::fs::File` is another type, because a program cannot learn which file of WASI it
/// stands for. A component that uses this type imports `wasi:filesystem`; others do not.
#[derive(Debug)]
pub struct File(Descriptor);

/// Facts about a [`File`], with the names of [`std::fs::Metadata`].
#[derive(Clone, Debug)]
pub struct Metadata(DescriptorStat);

impl Socket {
    /// Sends `file` from `offset` on, until its end or for `count` bytes, and returns the
    /// number of bytes sent. They do not pass through the handler. The timeout applies to
    /// each wait, as in Python. Python's `sendfile(file, offset, count)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send), and [`Error::InvalidArgument`] for a
    /// directory. The number of bytes sent is then unknown.
    pub fn sendfile(&self, file: &File, offset: u64, count: Option<u64>) -> Result<u64, Error> {
        file.send(&self.0, offset, count)
    }
}

impl File {
    /// Opens a file. `path` begins with the name of a granted directory, such as
    /// `/srv/index.html` with the option `--dir /var/www::/srv:ro`. Symbolic links are
    /// followed as far as they do not lead out of the directory. Python's
    /// `open(path, "rb")`.
    ///
    /// A directory is opened, too: see [`Metadata::is_dir`].
    ///
    /// # Errors
    ///
    /// Returns [`NotFound`](io::ErrorKind::NotFound) if no granted directory has the file,
    /// [`OutOfMemory`](io::ErrorKind::OutOfMemory) if the handlers of the server have as many
    /// files open as they may, or another error of the host.
    pub fn open(path: &str) -> io::Result<Self> {
        let mut found = Err(io::ErrorKind::NotFound.into());
        for (directory, name) in get_directories() {
            let Some(relative) = relative(path, &name) else { continue };
            let follow = PathFlags::SYMLINK_FOLLOW;
            let (flags, rights) = (OpenFlags::empty(), DescriptorFlags::READ);
            match directory.open_at(follow, relative, flags, rights) {
                Ok(file) => return Ok(Self(file)),
                Err(error) => found = Err(to_io_error(error)),
            }
        }
        found
    }

    /// Returns the size of the file and other facts. Python's `os.fstat(file.fileno())`.
    ///
    /// # Errors
    ///
    /// Returns the error of the host.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.0.stat().map(Metadata).map_err(to_io_error)
    }

    fn send(
        &self,
        socket: &sockets::Socket,
        offset: u64,
        count: Option<u64>,
    ) -> Result<u64, Error> {
        let mut sent = 0;
        loop {
            let left = count.map_or(u64::MAX, |count| count.saturating_sub(sent));
            match sendfile(socket, &self.0, offset.saturating_add(sent), left)? {
                0 => return Ok(sent),
                more => sent = sent.saturating_add(more),
            }
        }
    }
}

impl Metadata {
    /// Returns the size of the file in bytes. Python's `st_size`.
    #[allow(clippy::len_without_is_empty, reason = "as `std::fs::Metadata`")]
    pub fn len(&self) -> u64 {
        self.0.size
    }

    /// Returns true for a directory. Python's `stat.S_ISDIR(st_mode)`.
    pub fn is_dir(&self) -> bool {
        self.0.type_ == DescriptorType::Directory
    }

    /// Returns the time of the last change of the content, or `None` if the host does not
    /// tell. Python's `st_mtime_ns`.
    pub fn modified(&self) -> Option<SystemTime> {
        let time = self.0.data_modification_timestamp.as_ref()?;
        let seconds = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.seconds))?;
        seconds.checked_add(Duration::from_nanos(time.nanoseconds.into()))
    }
}

/// Returns the rest of `path` after the name of a directory.
fn relative<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    let directory = directory.trim_end_matches('/');
    if directory == "." && !path.starts_with('/') {
        return Some(path);
    }
    path.strip_prefix(directory)?.strip_prefix('/')
}

fn to_io_error(error: ErrorCode) -> io::Error {
    let kind = match error {
        ErrorCode::NoEntry => io::ErrorKind::NotFound,
        ErrorCode::Access | ErrorCode::NotPermitted => io::ErrorKind::PermissionDenied,
        ErrorCode::NotDirectory => io::ErrorKind::NotADirectory,
        ErrorCode::IsDirectory => io::ErrorKind::IsADirectory,
        ErrorCode::Invalid | ErrorCode::NameTooLong => io::ErrorKind::InvalidInput,
        ErrorCode::InsufficientMemory => io::ErrorKind::OutOfMemory,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_with_the_name_of_its_directory() {
        assert_eq!(relative("/srv/a/b", "/srv"), Some("a/b"));
        assert_eq!(relative("/srv/a", "/srv/"), Some("a"));
        assert_eq!(relative("/a", "/"), Some("a"));
        assert_eq!(relative("a", "."), Some("a"));
        assert_eq!(relative("/srvs/a", "/srv"), None);
        assert_eq!(relative("/srv", "/srv"), None);
        assert_eq!(relative("/a", "."), None);
    }
}
