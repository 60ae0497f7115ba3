//! The methods of `descriptor` that take no path.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::fs::{File, Metadata};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::fs::MetadataExt as _;
use rustix::fs::{fdatasync, fsync};
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, Resource, ResourceTable, WasmList};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, MetadataHashValue,
};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use crate::host::elsewhere::with_files;
use crate::host::grants::{Directory, Grants};
use crate::host::open_files::Counted;
use crate::host::state::State;
use crate::host::waits::{Waits, define_waiting};
use crate::host::wasi::files::{FileInput, FileOutput, read_at};
use crate::host::wasi::streams::permit;

use super::errno::ErrorCode;
use super::{Cx, Handle, HostResult, Outcome};

/// A file or a directory that a guest holds.
pub(crate) enum Descriptor {
    Directory(Directory),
    File(OpenFile),
}

/// An open file.
#[derive(Debug, Clone)]
pub(crate) struct OpenFile {
    pub file: Arc<Counted<File>>,
    pub readable: bool,
    pub writable: bool,
}

pub(super) fn add_to_linker(
    types: &mut LinkerInstance<'_, State>,
    grants: &Arc<Grants>,
    waits: Waits,
) -> Result<()> {
    types.func_wrap("[method]descriptor.read-via-stream", read_via_stream)?;
    types.func_wrap("[method]descriptor.write-via-stream", write_via_stream)?;
    types.func_wrap("[method]descriptor.append-via-stream", append_via_stream)?;
    types.func_wrap("[method]descriptor.advise", advise)?;
    define_waiting!(types, waits, "[method]descriptor.sync-data", sync_data)?;
    define_waiting!(types, waits, "[method]descriptor.sync", sync)?;
    types.func_wrap("[method]descriptor.get-flags", get_flags)?;
    types.func_wrap("[method]descriptor.get-type", get_type)?;
    define_waiting!(types, waits, "[method]descriptor.set-size", set_size)?;
    define_waiting!(types, waits, "[method]descriptor.read", read)?;
    define_waiting!(types, waits, "[method]descriptor.write", write)?;
    define_waiting!(types, waits, "[method]descriptor.stat", stat)?;
    define_waiting!(types, waits, "[method]descriptor.is-same-object", is_same_object)?;
    define_waiting!(types, waits, "[method]descriptor.metadata-hash", metadata_hash, grants)
}

fn read_via_stream(
    mut cx: Cx<'_>,
    (handle, at): (Handle, u64),
) -> HostResult<Resource<DynInputStream>> {
    let state = cx.data_mut();
    Ok((match readable(&state.table, &handle)? {
        Ok(file) => {
            let stream = FileInput { file: Some(file), at, most: state.call_memory };
            let stream = state.table.push::<DynInputStream>(Box::new(stream))?;
            state.holds_stream_of_file(stream.rep());
            Ok(stream)
        }
        Err(error) => Err(error),
    },))
}

fn write_via_stream(
    mut cx: Cx<'_>,
    (handle, at): (Handle, u64),
) -> HostResult<Resource<DynOutputStream>> {
    output(&mut cx, &handle, Some(at))
}

fn append_via_stream(
    mut cx: Cx<'_>,
    (handle,): (Handle,),
) -> HostResult<Resource<DynOutputStream>> {
    output(&mut cx, &handle, None)
}

fn output(
    cx: &mut Cx<'_>,
    handle: &Handle,
    at: Option<u64>,
) -> HostResult<Resource<DynOutputStream>> {
    let state = cx.data_mut();
    Ok((match writable(&state.table, handle)? {
        Ok(file) => {
            let stream = FileOutput { file: Some(file), at, permit: permit(state.call_memory) };
            let stream = state.table.push::<DynOutputStream>(Box::new(stream))?;
            state.holds_stream_of_file(stream.rep());
            Ok(stream)
        }
        Err(error) => Err(error),
    },))
}

/// Accepts an advice for a file, and ignores it.
fn advise(cx: Cx<'_>, (handle, _, _, _): (Handle, u64, u64, Advice)) -> HostResult<()> {
    Ok((match cx.data().table.get(&handle)? {
        Descriptor::Directory(_) => Err(ErrorCode::BadDescriptor),
        Descriptor::File(_) => Ok(()),
    },))
}

async fn sync_data(cx: Cx<'_>, (handle,): (Handle,)) -> HostResult<()> {
    sync_with(cx, handle, |file| fdatasync(file)).await
}

async fn sync(cx: Cx<'_>, (handle,): (Handle,)) -> HostResult<()> {
    sync_with(cx, handle, |file| fsync(file)).await
}

async fn sync_with(
    mut cx: Cx<'_>,
    handle: Handle,
    act: fn(BorrowedFd<'_>) -> rustix::io::Result<()>,
) -> HostResult<()> {
    with_files(cx.data_mut(), move |table| {
        Ok((with_file(table.get(&handle)?, act).map_err(ErrorCode::from),))
    })
    .await?
}

/// Flushes a file or a directory. A directory is open with `O_PATH`, so it is opened again
/// for this.
fn with_file(
    descriptor: &Descriptor,
    act: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<()>,
) -> io::Result<()> {
    Ok(match descriptor {
        Descriptor::Directory(directory) => act(directory.dir.open(".")?.as_fd()),
        Descriptor::File(open) => act((**open.file).as_fd()),
    }?)
}

fn get_flags(cx: Cx<'_>, (handle,): (Handle,)) -> HostResult<DescriptorFlags> {
    let mut flags = DescriptorFlags::empty();
    match cx.data().table.get(&handle)? {
        Descriptor::Directory(directory) => {
            flags |= DescriptorFlags::READ;
            if directory.writable {
                flags |= DescriptorFlags::MUTATE_DIRECTORY;
            }
        }
        Descriptor::File(open) => {
            if open.readable {
                flags |= DescriptorFlags::READ;
            }
            if open.writable {
                flags |= DescriptorFlags::WRITE;
            }
        }
    }
    Ok((Ok(flags),))
}

fn get_type(cx: Cx<'_>, (handle,): (Handle,)) -> HostResult<DescriptorType> {
    Ok((Ok(match cx.data().table.get(&handle)? {
        Descriptor::Directory(_) => DescriptorType::Directory,
        Descriptor::File(_) => DescriptorType::RegularFile,
    }),))
}

async fn set_size(mut cx: Cx<'_>, (handle, size): (Handle, u64)) -> HostResult<()> {
    with_files(cx.data_mut(), move |table| {
        let set = |file: Arc<Counted<File>>| file.set_len(size).map_err(ErrorCode::from);
        Ok((writable(table, &handle)?.and_then(set),))
    })
    .await?
}

/// Reads at most as much as one call may return. The second value is `true` at the end of
/// the file.
async fn read(
    mut cx: Cx<'_>,
    (handle, len, at): (Handle, u64, u64),
) -> HostResult<(Vec<u8>, bool)> {
    let most = cx.data().call_memory;
    let most = usize::try_from(len).map_or(most, |len| len.min(most));
    with_files(cx.data_mut(), move |table| {
        let data = readable(table, &handle)?
            .and_then(|file| read_at(&file, most, at).map_err(ErrorCode::from))
            .map(|data| {
                let end = data.is_empty() && len > 0;
                (data, end)
            });
        Ok((data,))
    })
    .await?
}

/// Writes data. It is copied only if another thread writes it: as much as one call may allocate.
async fn write(mut cx: Cx<'_>, (handle, data, at): (Handle, WasmList<u8>, u64)) -> HostResult<u64> {
    let file = match writable(&cx.data().table, &handle)? {
        Ok(file) => file,
        Err(error) => return Ok((Err(error),)),
    };
    let slice = data.as_le_slice(&cx);
    let written = if cx.data().task.is_none() {
        file.write_at(slice, at)
    } else {
        let copy = slice[..slice.len().min(cx.data().call_memory)].to_vec();
        with_files(cx.data_mut(), move |_| file.write_at(&copy, at)).await?
    };
    Ok((written.map(|count| count as u64).map_err(ErrorCode::from),))
}

async fn stat(mut cx: Cx<'_>, (handle,): (Handle,)) -> HostResult<DescriptorStat> {
    with_files(cx.data_mut(), move |table| {
        let stat = match table.get(&handle)? {
            Descriptor::Directory(directory) => directory.dir.dir_metadata().map(|of| stat_of(&of)),
            Descriptor::File(open) => open.file.metadata().map(|of| stat_of_file(&of)),
        };
        Ok((stat.map_err(ErrorCode::from),))
    })
    .await?
}

async fn is_same_object(mut cx: Cx<'_>, (one, other): (Handle, Handle)) -> Result<(bool,)> {
    with_files(cx.data_mut(), move |table| {
        let (one, other) = (table.get(&one)?.identity(), table.get(&other)?.identity());
        Ok((matches!((one, other), (Ok(one), Ok(other)) if one == other),))
    })
    .await?
}

async fn metadata_hash(
    mut cx: Cx<'_>,
    (descriptor,): (Handle,),
    grants: Arc<Grants>,
) -> HostResult<MetadataHashValue> {
    with_files(cx.data_mut(), move |table| {
        let identity = table.get(&descriptor)?.identity();
        Ok((identity.map(|identity| hash(&grants.hasher, identity)).map_err(ErrorCode::from),))
    })
    .await?
}

/// Returns a file that a guest holds, if the guest may read it.
fn readable(table: &ResourceTable, handle: &Handle) -> Result<Outcome<Arc<Counted<File>>>> {
    file(table, handle, |open| open.readable)
}

/// Returns a file that a guest holds, if the guest may write to it.
fn writable(table: &ResourceTable, handle: &Handle) -> Result<Outcome<Arc<Counted<File>>>> {
    file(table, handle, |open| open.writable)
}

fn file(
    table: &ResourceTable,
    handle: &Handle,
    may: fn(&OpenFile) -> bool,
) -> Result<Outcome<Arc<Counted<File>>>> {
    Ok(match table.get(handle)? {
        Descriptor::Directory(_) => Err(ErrorCode::IsDirectory),
        Descriptor::File(open) if may(open) => Ok(Arc::clone(&open.file)),
        Descriptor::File(_) => Err(ErrorCode::BadDescriptor),
    })
}

impl Descriptor {
    /// The device and the inode.
    fn identity(&self) -> io::Result<(u64, u64)> {
        Ok(match self {
            Descriptor::Directory(directory) => {
                let of = directory.dir.dir_metadata()?;
                (of.dev(), of.ino())
            }
            Descriptor::File(open) => {
                let of = open.file.metadata()?;
                (MetadataExt::dev(&of), MetadataExt::ino(&of))
            }
        })
    }
}

/// Returns a hash that tells files apart and does not identify them.
pub(super) fn hash(hasher: &RandomState, identity: (u64, u64)) -> MetadataHashValue {
    MetadataHashValue {
        lower: hasher.hash_one(identity),
        upper: hasher.hash_one((identity, "upper")),
    }
}

pub(super) fn stat_of(of: &cap_std::fs::Metadata) -> DescriptorStat {
    DescriptorStat {
        type_: type_of(of.file_type()),
        link_count: of.nlink(),
        size: of.len(),
        data_access_timestamp: of.accessed().ok().and_then(|time| datetime(time.into_std())),
        data_modification_timestamp: of.modified().ok().and_then(|time| datetime(time.into_std())),
        status_change_timestamp: changed(of.ctime(), of.ctime_nsec()),
    }
}

fn stat_of_file(of: &Metadata) -> DescriptorStat {
    DescriptorStat {
        type_: DescriptorType::RegularFile,
        link_count: MetadataExt::nlink(of),
        size: of.len(),
        data_access_timestamp: of.accessed().ok().and_then(datetime),
        data_modification_timestamp: of.modified().ok().and_then(datetime),
        status_change_timestamp: changed(MetadataExt::ctime(of), MetadataExt::ctime_nsec(of)),
    }
}

fn changed(seconds: i64, nanoseconds: i64) -> Option<Datetime> {
    let (seconds, nanoseconds) = (seconds.try_into().ok()?, nanoseconds.try_into().ok()?);
    Some(Datetime { seconds, nanoseconds })
}

/// Converts a time, unless it is before 1970.
fn datetime(time: SystemTime) -> Option<Datetime> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Datetime { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() })
}

/// A socket is of an unknown type, as it is in a list of a directory.
fn type_of(file_type: cap_std::fs::FileType) -> DescriptorType {
    use cap_std::fs::FileTypeExt as _;
    if file_type.is_dir() {
        DescriptorType::Directory
    } else if file_type.is_file() {
        DescriptorType::RegularFile
    } else if file_type.is_symlink() {
        DescriptorType::SymbolicLink
    } else if file_type.is_fifo() {
        DescriptorType::Fifo
    } else if file_type.is_block_device() {
        DescriptorType::BlockDevice
    } else if file_type.is_char_device() {
        DescriptorType::CharacterDevice
    } else {
        DescriptorType::Unknown
    }
}
