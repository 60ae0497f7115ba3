//! The file of a Unix socket that is closed, and its removal.
//!
//! Such a file never becomes useful again: a socket gets its file when it is
//! bound, and gets no other. So the check may take its time; a handle keeps the inode
//! number from being used for another file meanwhile. The removal must not touch a file
//! that a server has put in its place since the check, and the kernel has no call that
//! removes a file only if it is still the same. So:
//!
//! - The directory is locked (`flock(2)`) from the check until the new socket is bound,
//!   so servers of this crate take turns. Any user who may read the directory can hold
//!   that lock, so the server waits for it for at most a second.
//! - Other programs do not know of the lock. The kernel can exchange two names at once:
//!   that of the stale file, and that of a socket that is open here. So the name is never
//!   free for other programs to bind. The server checks the file that it got, and
//!   puts it back if it is another one. Clients of that file cannot connect meanwhile.
//!
//! Two cases remain. A program that removes files without a check, as many do, may
//! remove the file of a server that has just started. And on file systems that cannot
//! exchange names, such as some network file systems, the file is removed if it is still
//! the same just before.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, fchmod, flock, fstat, open,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

/// The largest number of names that are tried for the stand-in.
const MAX_NAMES: u32 = 16;

/// The longest wait for the lock on the directory.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(1);

/// The identity of a file: its device and its inode number, which another file may
/// get once this file is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    fn from_stat(stat: &Stat) -> Self {
        #[allow(clippy::useless_conversion, reason = "32 bits on some machines")]
        FileId(stat.st_dev.into(), stat.st_ino.into())
    }
}

/// The file of a closed socket. The handle keeps its inode number in use.
struct StaleFile {
    _handle: OwnedFd,
    id: FileId,
}

/// Returns true if `path` is the file of a closed socket.
pub(crate) fn is_stale(path: &Path) -> bool {
    matches!(find_stale(path), Ok(Some(_)))
}

/// A lock that keeps other servers of this crate from checking for stale files in a
/// directory. It is missing if the lock could not be had.
pub(crate) struct DirectoryLock {
    _directory: Option<OwnedFd>,
}

/// Removes the file if it is that of a closed socket, and no other file. The caller must
/// keep the lock until the path is bound.
///
/// # Errors
///
/// The directory must not be changed, or the kernel refuses a socket.
pub(crate) fn remove(path: &Path) -> io::Result<DirectoryLock> {
    let lock = DirectoryLock::acquire(parent(path));
    if let Some(stale) = find_stale(path)? {
        remove_stale(path, &stale)?;
    }
    Ok(lock)
}

impl DirectoryLock {
    fn acquire(directory: &Path) -> DirectoryLock {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(directory) = open(directory, flags, Mode::empty()) else {
            return DirectoryLock { _directory: None };
        };
        let deadline = Instant::now() + MAX_LOCK_WAIT;
        while flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err()
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(2));
        }
        DirectoryLock { _directory: Some(directory) }
    }
}

fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Returns the file at `path` if it is that of a closed socket.
fn find_stale(path: &Path) -> io::Result<Option<StaleFile>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(handle) = open(path, flags, Mode::empty()) else { return Ok(None) };
    let stat = fstat(&handle)?;
    let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    let stale = is_socket && is_closed(&handle)?;
    Ok(stale.then(|| StaleFile { _handle: handle, id: FileId::from_stat(&stat) }))
}

/// Returns true if the socket of this file is closed. An open socket that does not
/// listen (yet) also refuses clients of its own type, but reports another error to
/// clients of other types.
fn is_closed(file: &OwnedFd) -> io::Result<bool> {
    let address = SockAddr::unix(path_of_handle(file))?;
    // An open stream socket does not notice the datagram client, so that one comes first.
    for kind in [Type::DGRAM, Type::STREAM] {
        let client = Socket::new(Domain::UNIX, kind, None)?;
        client.set_nonblocking(true)?;
        let refused = client
            .connect(&address)
            .is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::CONNREFUSED));
        if !refused {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns a path to an open file that is always short enough for a socket address.
fn path_of_handle(handle: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", handle.as_raw_fd()).into()
}

/// Removes the file at `path` if it is still `stale`.
fn remove_stale(path: &Path, stale: &StaleFile) -> io::Result<()> {
    let Some(name) = path.file_name().map(Path::new) else { return Ok(()) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(parent(path), flags, Mode::empty())?;
    let stand_in = StandIn::new(directory)?;
    match stand_in.exchange(name) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            return stand_in.remove_if(name, stale.id);
        }
        Err(error) => return Err(error.into()),
    }
    if stand_in.has_id(&stand_in.name, stale.id) {
        unlinkat(&stand_in.directory, &stand_in.name, AtFlags::empty())?;
        return stand_in.remove_if(name, stand_in.id);
    }
    // The file belongs to another server. The stand-in is in its place, unless a program
    // has removed that without a check.
    if stand_in.has_id(name, stand_in.id) {
        stand_in.exchange(name)?;
    }
    Ok(())
}

/// The file of a socket that is open here, so that other programs take it for that of a
/// server. It accepts no client, and is removed with this value.
struct StandIn {
    directory: OwnedFd,
    name: PathBuf,
    id: FileId,
    _socket: Socket,
}

impl StandIn {
    fn new(directory: OwnedFd) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        // The kernel makes the file with the mode of the socket.
        fchmod(&socket, Mode::empty())?;
        let mut bound = Err(Errno::ADDRINUSE.into());
        let mut name = PathBuf::new();
        for _ in 0..MAX_NAMES {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            name = format!(".socketserver-{}-{number}", process::id()).into();
            bound = SockAddr::unix(path_of_handle(&directory).join(&name))
                .and_then(|address| socket.bind(&address));
            let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
            if !bound.as_ref().is_err_and(in_use) {
                break;
            }
        }
        bound?;
        let id = FileId::from_stat(&statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?);
        Ok(StandIn { directory, name, id, _socket: socket })
    }

    /// Exchanges the files at its name and at `other`.
    fn exchange(&self, other: &Path) -> rustix::io::Result<()> {
        let directory = &self.directory;
        renameat_with(directory, &self.name, directory, other, RenameFlags::EXCHANGE)
    }

    fn has_id(&self, name: &Path, id: FileId) -> bool {
        let stat = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| FileId::from_stat(&stat) == id)
    }

    fn remove_if(&self, name: &Path, id: FileId) -> io::Result<()> {
        if self.has_id(name, id) {
            unlinkat(&self.directory, name, AtFlags::empty())?;
        }
        Ok(())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // It is not there any more if the stale file was removed.
        let _ = self.remove_if(&self.name, self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use tempfile::TempDir;

    use super::*;

    fn stale_socket() -> (TempDir, PathBuf, StaleFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let stale = find_stale(&path).unwrap().unwrap();
        (directory, path, stale)
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let names = fs::read_dir(directory.path()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_stale_socket_is_removed_and_nothing_is_left_behind() {
        let (directory, path, stale) = stale_socket();
        remove_stale(&path, &stale).unwrap();
        assert_eq!(names(&directory), Vec::<String>::new());
    }

    #[test]
    fn a_server_that_started_after_the_check_keeps_its_file() {
        let (directory, path, stale) = stale_socket();
        fs::remove_file(&path).unwrap();
        let server = UnixListener::bind(&path).unwrap();
        remove_stale(&path, &stale).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        drop((server.accept().unwrap(), client));
        assert_eq!(names(&directory), ["socket"]);
    }

    #[test]
    fn a_lock_that_another_process_holds_delays_the_removal_for_a_bounded_time() {
        let (directory, path, _stale) = stale_socket();
        let _held = DirectoryLock::acquire(directory.path());
        let _lock = remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_replaced_the_socket_is_kept() {
        let (directory, path, stale) = stale_socket();
        fs::remove_file(&path).unwrap();
        remove_stale(&path, &stale).unwrap();
        assert_eq!(names(&directory), Vec::<String>::new());
        fs::write(&path, b"precious").unwrap();
        remove_stale(&path, &stale).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        assert_eq!(names(&directory), ["socket"]);
    }

    /// Other servers check it while it is there, also after the process has died.
    #[test]
    fn the_stand_in_is_not_stale_while_it_is_open() {
        let directory = tempfile::tempdir().unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let handle = open(directory.path(), flags, Mode::empty()).unwrap();
        let stand_in = StandIn::new(handle).unwrap();
        let path = directory.path().join(&stand_in.name);
        assert!(!is_stale(&path));
        let copy = directory.path().join("copy");
        fs::hard_link(&path, &copy).unwrap();
        drop(stand_in);
        assert!(!path.exists() && is_stale(&copy));
    }

    #[test]
    fn only_a_closed_socket_is_stale() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let datagrams = UnixDatagram::bind(path("datagrams")).unwrap();
        let listener = UnixListener::bind(path("listener")).unwrap();
        let kinds = [Type::STREAM, Type::DGRAM, Type::SEQPACKET];
        let silent = kinds.map(|kind| {
            let socket = Socket::new(Domain::UNIX, kind, None).unwrap();
            let name = format!("silent-{kind:?}");
            socket.bind(&SockAddr::unix(path(&name)).unwrap()).unwrap();
            (name, socket)
        });
        let names = ["datagrams", "listener", &silent[0].0, &silent[1].0, &silent[2].0];
        let stale = || names.map(|name| is_stale(&path(name)));
        assert_eq!(stale(), [false; 5]);
        let names_of_silent = silent.each_ref().map(|(name, _)| name.clone());
        drop((datagrams, listener, silent.map(|(_, socket)| socket)));
        assert!(names_of_silent.iter().all(|name| is_stale(&path(name))));
        assert!(is_stale(&path("datagrams")) && is_stale(&path("listener")));
        fs::write(path("file"), b"").unwrap();
        assert!(!is_stale(&path("file")) && !is_stale(&path("nothing")));
    }
}
