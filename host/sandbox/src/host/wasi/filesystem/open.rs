//! Opening files and directories.

use std::io;
use std::sync::Arc;

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, OpenFlags};

use crate::host::grants::Directory;
use crate::host::open_files::Counted;

use super::Outcome;
use super::descriptor::{Descriptor, OpenFile};
use super::errno::ErrorCode;

/// The way in which a guest asks to open a file or a directory.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// Set to follow a symbolic link at the end of the path.
    pub follow: bool,
    pub open: OpenFlags,
    pub flags: DescriptorFlags,
}

impl How {
    /// Returns `true` if the guest could change something, now or later.
    fn changes(self) -> bool {
        let changing = OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let writing = DescriptorFlags::WRITE | DescriptorFlags::MUTATE_DIRECTORY;
        self.open & changing != OpenFlags::empty()
            || self.flags & writing != DescriptorFlags::empty()
    }
}

/// Opens a file or a directory.
///
/// # Errors
///
/// `unsupported` for synchronous writing; `invalid` for flags that contradict each other;
/// `read-only` if the guest could change something in a directory that is not writable;
/// `not-permitted` if the path leads to neither a file nor a directory, or out of the
/// directory; or the error of the kernel.
pub(super) fn open(directory: &Directory, path: &str, how: How) -> Outcome<Descriptor> {
    let synchronous = DescriptorFlags::FILE_INTEGRITY_SYNC
        | DescriptorFlags::DATA_INTEGRITY_SYNC
        | DescriptorFlags::REQUESTED_WRITE_SYNC;
    if how.flags & synchronous != DescriptorFlags::empty() {
        return Err(ErrorCode::Unsupported);
    }
    let of_files = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
    if how.open.contains(OpenFlags::DIRECTORY) && how.open & of_files != OpenFlags::empty() {
        return Err(ErrorCode::Invalid);
    }
    if how.changes() && !directory.writable {
        return Err(ErrorCode::ReadOnly);
    }
    let found = look(directory, path, how.follow);
    if found.as_ref().is_ok_and(cap_std::fs::Metadata::is_symlink) {
        return Err(ErrorCode::Loop);
    }
    let is_directory = found.as_ref().is_ok_and(cap_std::fs::Metadata::is_dir);
    if how.open.contains(OpenFlags::DIRECTORY) || is_directory {
        return open_directory(directory, path, how);
    }
    match found {
        Ok(found) if found.is_file() => {}
        // The check comes before the opening: some devices act when they are opened.
        Ok(_) => return Err(ErrorCode::NotPermitted),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && how.open.contains(OpenFlags::CREATE) => {}
        Err(error) => return Err(error.into()),
    }
    open_file(directory, path, how)
}

fn look(directory: &Directory, path: &str, follow: bool) -> io::Result<cap_std::fs::Metadata> {
    if follow { directory.dir.metadata(path) } else { directory.dir.symlink_metadata(path) }
}

fn open_directory(directory: &Directory, path: &str, how: How) -> Outcome<Descriptor> {
    if how.open.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE) {
        return Err(ErrorCode::Exist);
    }
    let of_files = OpenFlags::CREATE | OpenFlags::TRUNCATE;
    if how.open & of_files != OpenFlags::empty() || how.flags.contains(DescriptorFlags::WRITE) {
        return Err(ErrorCode::IsDirectory);
    }
    let dir = counted(directory, || {
        if how.follow {
            directory.dir.open_dir(path)
        } else {
            directory.dir.open_dir_nofollow(path)
        }
    })?;
    Ok(Descriptor::Directory(Directory { dir: Arc::new(dir), ..directory.clone() }))
}

/// Opens a file or a directory with `open`, if the limit for open files allows it.
pub(super) fn counted<T>(
    directory: &Directory,
    open: impl FnOnce() -> io::Result<T>,
) -> Outcome<Counted<T>> {
    Ok(directory.files.open(open).ok_or(ErrorCode::InsufficientMemory)??)
}

fn open_file(directory: &Directory, path: &str, how: How) -> Outcome<Descriptor> {
    let writable = how.flags.contains(DescriptorFlags::WRITE);
    // Without read and write access the guest can still read the metadata.
    let readable = how.flags.contains(DescriptorFlags::READ);
    let truncate = how.open.contains(OpenFlags::TRUNCATE);
    let create = how.open.contains(OpenFlags::CREATE);
    let mut options = OpenOptions::new();
    options
        .read(readable || !writable)
        .write(writable || truncate || create)
        .truncate(truncate)
        .create(create)
        .create_new(create && how.open.contains(OpenFlags::EXCLUSIVE))
        .follow(if how.follow { FollowSymlinks::Yes } else { FollowSymlinks::No });
    // The file may have become a pipe since the check, and to open a pipe would wait for its
    // other end.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(flags.bits().cast_signed());
    let file = counted(directory, || {
        directory.dir.open_with(path, &options).map(cap_std::fs::File::into_std)
    })?;
    if !file.metadata()?.is_file() {
        return Err(ErrorCode::NotPermitted);
    }
    Ok(Descriptor::File(OpenFile { file: Arc::new(file), readable, writable }))
}
