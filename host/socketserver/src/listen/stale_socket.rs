//! The file of a Unix socket that was closed, and how to be rid of it.
//!
//! A file like that never comes to life again: a socket gets its file when it is
//! bound, and no other. So the look may take its time; a handle keeps the file's number
//! from being another file's meanwhile. What the removal must not touch is a file that
//! a server has put in its place since the look, and the kernel has no call that removes
//! a file only if it is still the same. Two things stand in for it:
//!
//! - The directory is locked (`flock(2)`) from the look until the new socket is bound,
//!   so servers of this crate take turns. Any user who may read the directory could hold
//!   that lock, so nothing waits for it for longer than a second.
//! - Other programs do not know of the lock. The kernel can exchange two names at once:
//!   the stale file's, and that of a socket that is open here. So the name is never free
//!   for others to bind, what was there can be looked at, and is put back if it is another
//!   one. Its clients cannot connect for that moment.
//!
//! What remains: a program that removes the file without a look at it, as many do, may
//! remove the one of a server that has just begun. And where the file system cannot
//! exchange names, as some in networks, the file is removed if it is the same just before.

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

/// How many names may be taken already, which is no accident.
const MOST_NAMES: u32 = 16;

/// How long a lock on the directory is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A file, whatever its name: its device and its number there, which another file may
/// have once this one is gone for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id(u64, u64);

impl Id {
    fn of(found: &Stat) -> Self {
        #[allow(clippy::useless_conversion, reason = "32 bits on some machines")]
        Id(found.st_dev.into(), found.st_ino.into())
    }
}

/// The file of a socket that is closed. Its number is its own while this is there.
struct Stale {
    _handle: OwnedFd,
    id: Id,
}

/// Whether there is the file of a socket that is closed.
pub(crate) fn is_stale(path: &Path) -> bool {
    matches!(look(path), Ok(Some(_)))
}

/// Keeps other servers of this crate from looking for stale sockets in a directory.
/// Without a lock, if it cannot be had.
pub(crate) struct Turn {
    _directory: Option<OwnedFd>,
}

/// Removes the file if it is that of a socket that is closed; anything else stays. What
/// it returns is to be kept until the path is bound.
///
/// Errors: the directory may not be changed.
pub(crate) fn remove(path: &Path) -> io::Result<Turn> {
    let turn = Turn::wait(parent(path));
    if let Some(stale) = look(path)? {
        take_away(path, &stale)?;
    }
    Ok(turn)
}

impl Turn {
    fn wait(directory: &Path) -> Turn {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(directory) = open(directory, flags, Mode::empty()) else {
            return Turn { _directory: None };
        };
        let end = Instant::now() + LONGEST_WAIT;
        while flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err()
            && Instant::now() < end
        {
            thread::sleep(Duration::from_millis(2));
        }
        Turn { _directory: Some(directory) }
    }
}

fn parent(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// The file of a socket that is closed, if there is one.
fn look(path: &Path) -> io::Result<Option<Stale>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(handle) = open(path, flags, Mode::empty()) else { return Ok(None) };
    let found = fstat(&handle)?;
    let is_socket = FileType::from_raw_mode(found.st_mode) == FileType::Socket;
    let stale = is_socket && is_closed(&handle)?;
    Ok(stale.then(|| Stale { _handle: handle, id: Id::of(&found) }))
}

/// Whether the socket that has this file is closed. One that is open, and does not
/// listen (yet), refuses clients of its own type too, but not others in the same way.
fn is_closed(file: &OwnedFd) -> io::Result<bool> {
    let address = SockAddr::unix(by_handle(file))?;
    // An open socket for connections does not notice the first.
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

/// The path of what this is a handle of, however long its own path is.
fn by_handle(handle: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", handle.as_raw_fd()).into()
}

/// Removes the file of that name if it is `stale`.
fn take_away(path: &Path, stale: &Stale) -> io::Result<()> {
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
    if stand_in.is_at(&stand_in.name, stale.id) {
        unlinkat(&stand_in.directory, &stand_in.name, AtFlags::empty())?;
        return stand_in.remove_if(name, stand_in.id);
    }
    // It is another's. What is in its place is the stand-in, unless a program has
    // removed that without a look at it.
    if stand_in.is_at(name, stand_in.id) {
        stand_in.exchange(name)?;
    }
    Ok(())
}

/// The file of a socket that is open here, so that it is taken for a server's. It
/// lets no client in, and goes with this.
struct StandIn {
    directory: OwnedFd,
    name: PathBuf,
    id: Id,
    _socket: Socket,
}

impl StandIn {
    fn new(directory: OwnedFd) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        // The file is made with the mode of the socket.
        fchmod(&socket, Mode::empty())?;
        let mut bound = Err(Errno::ADDRINUSE.into());
        let mut name = PathBuf::new();
        for _ in 0..MOST_NAMES {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            name = format!(".socketserver-{}-{number}", process::id()).into();
            bound = SockAddr::unix(by_handle(&directory).join(&name))
                .and_then(|address| socket.bind(&address));
            let taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
            if !bound.as_ref().is_err_and(taken) {
                break;
            }
        }
        bound?;
        let id = Id::of(&statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?);
        Ok(StandIn { directory, name, id, _socket: socket })
    }

    /// Exchanges its name, and what has it, with another one.
    fn exchange(&self, other: &Path) -> rustix::io::Result<()> {
        let directory = &self.directory;
        renameat_with(directory, &self.name, directory, other, RenameFlags::EXCHANGE)
    }

    fn is_at(&self, name: &Path, id: Id) -> bool {
        let found = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        found.is_ok_and(|found| Id::of(&found) == id)
    }

    fn remove_if(&self, name: &Path, id: Id) -> io::Result<()> {
        if self.is_at(name, id) {
            unlinkat(&self.directory, name, AtFlags::empty())?;
        }
        Ok(())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // It is not there any more where the stale file was removed.
        let _ = self.remove_if(&self.name, self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use tempfile::TempDir;

    use super::*;

    fn with_a_stale_socket() -> (TempDir, PathBuf, Stale) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let stale = look(&path).unwrap().unwrap();
        (directory, path, stale)
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let names = fs::read_dir(directory.path()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_stale_socket_is_removed_and_nothing_is_left_behind() {
        let (directory, path, stale) = with_a_stale_socket();
        take_away(&path, &stale).unwrap();
        assert_eq!(names(&directory), Vec::<String>::new());
    }

    #[test]
    fn a_server_that_has_begun_since_the_look_keeps_its_file() {
        let (directory, path, stale) = with_a_stale_socket();
        fs::remove_file(&path).unwrap();
        let server = UnixListener::bind(&path).unwrap();
        take_away(&path, &stale).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        drop((server.accept().unwrap(), client));
        assert_eq!(names(&directory), ["socket"]);
    }

    #[test]
    fn a_lock_that_another_process_holds_is_not_waited_for_without_end() {
        let (directory, path, _stale) = with_a_stale_socket();
        let _held = Turn::wait(directory.path());
        let _turn = remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_any_more_is_kept() {
        let (directory, path, stale) = with_a_stale_socket();
        fs::remove_file(&path).unwrap();
        take_away(&path, &stale).unwrap();
        assert_eq!(names(&directory), Vec::<String>::new());
        fs::write(&path, b"precious").unwrap();
        take_away(&path, &stale).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        assert_eq!(names(&directory), ["socket"]);
    }

    /// Others look at it while this works, and may find the process gone afterwards.
    #[test]
    fn the_stand_in_is_taken_for_a_server_while_it_is_open() {
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
