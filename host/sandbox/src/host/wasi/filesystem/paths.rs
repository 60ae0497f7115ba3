//! The methods of `descriptor` that take paths.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::sync::Arc;

use cap_fs_ext::DirExt;
use cap_std::fs::MetadataExt;
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, ResourceTable, WasmStr};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorStat, MetadataHashValue, OpenFlags, PathFlags,
};

use crate::host::elsewhere::with_files;
use crate::host::grants::{Directory, Grants};
use crate::host::state::State;
use crate::host::waits::{Waits, define_waiting};

use super::descriptor::{hash, stat_of};
use super::errno::ErrorCode;
use super::open::{How, open};
use super::{Cx, Handle, HostResult, Outcome, directory, path, writable};

pub(super) fn add_to_linker(
    types: &mut LinkerInstance<'_, State>,
    grants: &Arc<Grants>,
    waits: Waits,
) -> Result<()> {
    define_waiting!(types, waits, "[method]descriptor.open-at", open_at)?;
    define_waiting!(types, waits, "[method]descriptor.stat-at", stat_at)?;
    define_waiting!(types, waits, "[method]descriptor.readlink-at", readlink_at)?;
    define_waiting!(types, waits, "[method]descriptor.create-directory-at", create_directory_at)?;
    define_waiting!(types, waits, "[method]descriptor.remove-directory-at", remove_directory_at)?;
    define_waiting!(types, waits, "[method]descriptor.unlink-file-at", unlink_file_at)?;
    define_waiting!(types, waits, "[method]descriptor.link-at", link_at)?;
    define_waiting!(types, waits, "[method]descriptor.rename-at", rename_at)?;
    define_waiting!(types, waits, "[method]descriptor.symlink-at", symlink_at)?;
    define_waiting!(types, waits, "[method]descriptor.metadata-hash-at", metadata_hash_at, grants)
}

async fn open_at(
    mut cx: Cx<'_>,
    (handle, path_flags, name, open_flags, flags): (
        Handle,
        PathFlags,
        WasmStr,
        OpenFlags,
        DescriptorFlags,
    ),
) -> HostResult<Handle> {
    let how = How { follow: follows(path_flags), open: open_flags, flags };
    let path = path(&cx, &name)?;
    cx.data_mut().opens_file();
    with_files(cx.data_mut(), move |table| {
        let opened = match (directory(table, &handle)?, path) {
            (Ok(directory), Ok(path)) => open(directory, &path, how),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        Ok((match opened {
            Ok(descriptor) => Ok(table.push(descriptor)?),
            Err(error) => Err(error),
        },))
    })
    .await?
}

async fn stat_at(
    cx: Cx<'_>,
    (handle, flags, name): (Handle, PathFlags, WasmStr),
) -> HostResult<DescriptorStat> {
    Ok((look(cx, handle, flags, name).await?.map(|of| stat_of(&of)),))
}

async fn metadata_hash_at(
    cx: Cx<'_>,
    (handle, flags, name): (Handle, PathFlags, WasmStr),
    grants: Arc<Grants>,
) -> HostResult<MetadataHashValue> {
    let found = look(cx, handle, flags, name).await?;
    Ok((found.map(|of| hash(&grants.hasher, (of.dev(), of.ino()))),))
}

async fn look(
    mut cx: Cx<'_>,
    handle: Handle,
    flags: PathFlags,
    name: WasmStr,
) -> Result<Outcome<cap_std::fs::Metadata>> {
    let path = path(&cx, &name)?;
    with_files(cx.data_mut(), move |table| {
        Ok(at(directory(table, &handle)?, path, |Directory { dir, .. }, path| {
            if follows(flags) { dir.metadata(path) } else { dir.symlink_metadata(path) }
        }))
    })
    .await?
}

/// Reads a symbolic link, unless it leads out of the directory.
async fn readlink_at(mut cx: Cx<'_>, (handle, name): (Handle, WasmStr)) -> HostResult<String> {
    let path = path(&cx, &name)?;
    let read = move |table: &mut ResourceTable| -> Result<Outcome<std::path::PathBuf>> {
        let directory = directory(table, &handle)?;
        Ok(at(directory, path, |directory, path| directory.dir.read_link(path)))
    };
    let target = with_files(cx.data_mut(), read).await??;
    let text = |target: std::path::PathBuf| {
        target.into_os_string().into_string().map_err(|_| ErrorCode::IllegalByteSequence)
    };
    Ok((target.and_then(text),))
}

async fn create_directory_at(cx: Cx<'_>, params: (Handle, WasmStr)) -> HostResult<()> {
    change(cx, params, |dir, path| dir.create_dir(path)).await
}

async fn remove_directory_at(cx: Cx<'_>, params: (Handle, WasmStr)) -> HostResult<()> {
    change(cx, params, |dir, path| dir.remove_dir(path)).await
}

async fn unlink_file_at(cx: Cx<'_>, params: (Handle, WasmStr)) -> HostResult<()> {
    change(cx, params, |dir, path| dir.remove_file_or_symlink(path)).await
}

/// Creates a hard link. For a symbolic link it links to the link itself, not to its target.
async fn link_at(
    cx: Cx<'_>,
    (handle, flags, old, new_handle, new): (Handle, PathFlags, WasmStr, Handle, WasmStr),
) -> HostResult<()> {
    if follows(flags) {
        return Ok((Err(ErrorCode::Invalid),));
    }
    between(cx, (handle, old), (new_handle, new), |from, old, to, new| from.hard_link(old, to, new))
        .await
}

async fn rename_at(
    cx: Cx<'_>,
    (handle, old, new_handle, new): (Handle, WasmStr, Handle, WasmStr),
) -> HostResult<()> {
    between(cx, (handle, old), (new_handle, new), |from, old, to, new| from.rename(old, to, new))
        .await
}

/// Creates a symbolic link. A target that begins at the root is refused, because a program
/// outside of the sandbox could follow it.
async fn symlink_at(cx: Cx<'_>, (handle, old, new): (Handle, WasmStr, WasmStr)) -> HostResult<()> {
    let target = match path(&cx, &old)? {
        Ok(target) => target,
        Err(error) => return Ok((Err(error),)),
    };
    change(cx, (handle, new), move |dir, path| DirExt::symlink(dir, &target, path)).await
}

type Dir = cap_std::fs::Dir;

/// Runs an operation on a path in a directory that is writable.
async fn change(
    mut cx: Cx<'_>,
    (handle, name): (Handle, WasmStr),
    how: impl FnOnce(&Dir, &str) -> std::io::Result<()> + Send + 'static,
) -> HostResult<()> {
    let path = path(&cx, &name)?;
    with_files(cx.data_mut(), move |table| {
        Ok((at(writable(table, &handle)?, path, |directory, path| how(&directory.dir, path)),))
    })
    .await?
}

/// Runs an operation between two directories that are both writable.
async fn between(
    mut cx: Cx<'_>,
    (from, old): (Handle, WasmStr),
    (to, new): (Handle, WasmStr),
    how: fn(&Dir, &str, &Dir, &str) -> std::io::Result<()>,
) -> HostResult<()> {
    let (old, new) = (path(&cx, &old)?, path(&cx, &new)?);
    let new = match new {
        Ok(new) => new,
        Err(error) => return Ok((Err(error),)),
    };
    with_files(cx.data_mut(), move |table| {
        let to = match writable(table, &to)? {
            Ok(to) => to,
            Err(error) => return Ok((Err(error),)),
        };
        let from = writable(table, &from)?;
        Ok((at(from, old, |from, old| how(&from.dir, old, &to.dir, &new)),))
    })
    .await?
}

fn at<T>(
    directory: Outcome<&Directory>,
    path: Outcome<String>,
    how: impl FnOnce(&Directory, &str) -> std::io::Result<T>,
) -> Outcome<T> {
    Ok(how(directory?, &path?)?)
}

fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}
