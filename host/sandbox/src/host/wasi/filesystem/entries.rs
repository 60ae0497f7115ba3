//! The entries of a directory.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::collections::VecDeque;
use std::fs::File;
use std::mem::MaybeUninit;

use rustix::fs::{AtFlags, FileType, RawDir, statat};
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, Resource};
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorType, DirectoryEntry};

use crate::host::elsewhere::with_files;
use crate::host::open_files::Counted;
use crate::host::state::State;
use crate::host::waits::{Waits, define_waiting};

use super::errno::ErrorCode;
use super::open::counted;
use super::{Cx, Handle, HostResult, Outcome, directory};

/// The part of a directory that is read at once, in bytes: a guest may have as many streams
/// as handles. A name has at most 255 bytes on Linux; network file systems may have longer
/// ones.
const READ_AT_ONCE: usize = 2 << 10;

/// `directory-entry-stream`. It takes one descriptor, with an offset of its own.
pub(super) struct Entries {
    directory: Counted<File>,
    /// The entries that were read and not yet returned.
    next: VecDeque<Outcome<DirectoryEntry>>,
}

pub(super) fn add_to_linker(types: &mut LinkerInstance<'_, State>, waits: Waits) -> Result<()> {
    define_waiting!(types, waits, "[method]descriptor.read-directory", read_directory)?;
    define_waiting!(
        types,
        waits,
        "[method]directory-entry-stream.read-directory-entry",
        read_directory_entry
    )
}

async fn read_directory(mut cx: Cx<'_>, (handle,): (Handle,)) -> HostResult<Resource<Entries>> {
    cx.data_mut().opens_file();
    with_files(cx.data_mut(), move |table| {
        // The guest's handle is open with `O_PATH`, which does not allow to list entries.
        let opened = directory(table, &handle)?.and_then(|directory| {
            counted(directory, || directory.dir.open(".").map(cap_std::fs::File::into_std))
        });
        Ok((match opened {
            Ok(directory) => Ok(table.push(Entries { directory, next: VecDeque::new() })?),
            Err(error) => Err(error),
        },))
    })
    .await?
}

/// Returns the next entry. For a name that is not UTF-8 the error is
/// `illegal-byte-sequence`, and the next call returns the entry after it.
async fn read_directory_entry(
    mut cx: Cx<'_>,
    (entries,): (Resource<Entries>,),
) -> HostResult<Option<DirectoryEntry>> {
    let state = cx.data_mut();
    if let Some(next) = state.table.get_mut(&entries)?.next.pop_front() {
        return Ok((Some(next).transpose(),));
    }
    with_files(state, move |table| Ok((table.get_mut(&entries)?.next().transpose(),))).await?
}

impl Entries {
    fn next(&mut self) -> Option<Outcome<DirectoryEntry>> {
        if self.next.is_empty()
            && let Err(error) = self.read()
        {
            return Some(Err(error));
        }
        self.next.pop_front()
    }

    /// Reads until there is an entry to return, or to the end of the directory.
    fn read(&mut self) -> Outcome<()> {
        let mut buffer = [MaybeUninit::uninit(); READ_AT_ONCE];
        let mut entries = RawDir::new(&*self.directory, &mut buffer);
        // All entries in the buffer must be taken: the kernel continues after them.
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(std::io::Error::from)?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                // Some file systems do not have the type in the entry.
                let file_type = match entry.file_type() {
                    FileType::Unknown => statat(&*self.directory, name, AtFlags::SYMLINK_NOFOLLOW)
                        .map_or(FileType::Unknown, |of| FileType::from_raw_mode(of.st_mode)),
                    known => known,
                };
                let name = name.to_str().map(str::to_owned);
                self.next.push_back(match name {
                    Ok(name) => Ok(DirectoryEntry { type_: type_of(file_type), name }),
                    Err(_) => Err(ErrorCode::IllegalByteSequence),
                });
            }
            if entries.is_buffer_empty() && !self.next.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

/// A socket is of an unknown type, as in the crate: the adapter for the first preview of WASI
/// traps at any other.
fn type_of(file_type: FileType) -> DescriptorType {
    match file_type {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::Fifo => DescriptorType::Fifo,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        FileType::Socket | FileType::Unknown => DescriptorType::Unknown,
    }
}
