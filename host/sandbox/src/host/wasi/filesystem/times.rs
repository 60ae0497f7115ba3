//! Setting the times of files.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::fs::FileTimes;
use std::io;
use std::time::{Duration, SystemTime};

use cap_fs_ext::{DirExt, SystemTimeSpec};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use cap_std::time::SystemTime as CapTime;
use rustix::fs::{AtFlags, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmStr};
use wasmtime_wasi::p2::bindings::filesystem::types::{NewTimestamp, PathFlags};

use crate::host::elsewhere::with_files;
use crate::host::grants::Directory;
use crate::host::state::State;
use crate::host::waits::{Waits, define_waiting};

use super::descriptor::{Descriptor, OpenFile};
use super::errno::ErrorCode;
use super::{Cx, Handle, HostResult, Outcome, path, writable};

pub(super) fn add_to_linker(types: &mut LinkerInstance<'_, State>, waits: Waits) -> Result<()> {
    define_waiting!(types, waits, "[method]descriptor.set-times", set_times)?;
    define_waiting!(types, waits, "[method]descriptor.set-times-at", set_times_at)
}

async fn set_times(
    mut cx: Cx<'_>,
    (handle, accessed, modified): (Handle, NewTimestamp, NewTimestamp),
) -> HostResult<()> {
    let (accessed, modified) = match (spec(accessed), spec(modified)) {
        (Ok(accessed), Ok(modified)) => (accessed, modified),
        (Err(error), _) | (_, Err(error)) => return Ok((Err(error),)),
    };
    with_files(cx.data_mut(), move |table| {
        Ok((match table.get(&handle)? {
            Descriptor::Directory(Directory { writable: false, .. }) => Err(ErrorCode::ReadOnly),
            Descriptor::File(OpenFile { writable: false, .. }) => Err(ErrorCode::BadDescriptor),
            Descriptor::Directory(Directory { dir, .. }) => {
                DirExt::set_times(&***dir, ".", accessed, modified).map_err(ErrorCode::from)
            }
            Descriptor::File(OpenFile { file, .. }) => {
                let mut times = FileTimes::new();
                if let Some(accessed) = accessed.map(time) {
                    times = times.set_accessed(accessed);
                }
                if let Some(modified) = modified.map(time) {
                    times = times.set_modified(modified);
                }
                file.set_times(times).map_err(ErrorCode::from)
            }
        },))
    })
    .await?
}

fn time(spec: SystemTimeSpec) -> SystemTime {
    match spec {
        SystemTimeSpec::SymbolicNow => SystemTime::now(),
        SystemTimeSpec::Absolute(time) => time.into_std(),
    }
}

async fn set_times_at(
    mut cx: Cx<'_>,
    (handle, flags, name, accessed, modified): (
        Handle,
        PathFlags,
        WasmStr,
        NewTimestamp,
        NewTimestamp,
    ),
) -> HostResult<()> {
    let (accessed, modified) = match (spec(accessed), spec(modified)) {
        (Ok(accessed), Ok(modified)) => (accessed, modified),
        (Err(error), _) | (_, Err(error)) => return Ok((Err(error),)),
    };
    let path = path(&cx, &name)?;
    with_files(cx.data_mut(), move |table| {
        let directory = match writable(table, &handle)? {
            Ok(directory) => &directory.dir,
            Err(error) => return Ok((Err(error),)),
        };
        let set = match path {
            Err(error) => return Ok((Err(error),)),
            Ok(path) if flags.contains(PathFlags::SYMLINK_FOLLOW) => {
                set_times_of(directory, &path, accessed, modified)
            }
            Ok(path) => directory.set_symlink_times(path, accessed, modified),
        };
        Ok((set.map_err(ErrorCode::from),))
    })
    .await?
}

/// Sets the times of the file at a path, or of the target of a link there. `O_PATH` does not
/// open the file: to open a pipe would wait for its other end.
fn set_times_of(
    directory: &Dir,
    path: &str,
    accessed: Option<SystemTimeSpec>,
    modified: Option<SystemTimeSpec>,
) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::PATH.bits().cast_signed());
    let found = directory.open_with(path, &options)?;
    let times =
        Timestamps { last_access: timespec(accessed)?, last_modification: timespec(modified)? };
    Ok(utimensat(&found, "", &times, AtFlags::EMPTY_PATH)?)
}

/// Converts a time. The kernel has two numbers of nanoseconds that stand for "now" and for
/// "leave it".
fn timespec(spec: Option<SystemTimeSpec>) -> io::Result<Timespec> {
    Ok(match spec {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(SystemTimeSpec::SymbolicNow) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(SystemTimeSpec::Absolute(time)) => time
            .into_std()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()
            .and_then(|since| Timespec::try_from(since).ok())
            .ok_or(io::ErrorKind::InvalidInput)?,
    })
}

fn spec(time: NewTimestamp) -> Outcome<Option<SystemTimeSpec>> {
    Ok(match time {
        NewTimestamp::NoChange => None,
        NewTimestamp::Now => Some(SystemTimeSpec::SymbolicNow),
        NewTimestamp::Timestamp(time) if time.nanoseconds < 1_000_000_000 => {
            let since = Duration::new(time.seconds, time.nanoseconds);
            let time = SystemTime::UNIX_EPOCH.checked_add(since).ok_or(ErrorCode::Overflow)?;
            Some(SystemTimeSpec::Absolute(CapTime::from_std(time)))
        }
        NewTimestamp::Timestamp(_) => return Err(ErrorCode::Invalid),
    })
}
