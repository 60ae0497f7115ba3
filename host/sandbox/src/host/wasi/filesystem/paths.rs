//! The methods of `descriptor` that take paths.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use std::sync::Arc;

use cap_fs_ext::DirExt;
use cap_std::fs::MetadataExt;
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmStr};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorStat, OpenFlags, PathFlags,
};

use crate::host::grants::{Directory, Grants};
use crate::host::state::State;

use super::descriptor::{hash, stat_of};
use super::errno::ErrorCode;
use super::open::{How, open};
use super::{Cx, Handle, HostResult, Outcome, directory, path, writable};

pub(super) fn add_to_linker(
    types: &mut LinkerInstance<'_, State>,
    grants: &Arc<Grants>,
) -> Result<()> {
    types.func_wrap("[method]descriptor.open-at", open_at)?;
    types.func_wrap("[method]descriptor.stat-at", stat_at)?;
    types.func_wrap("[method]descriptor.readlink-at", readlink_at)?;
    types.func_wrap(
        "[method]descriptor.create-directory-at",
        |cx: Cx<'_>, (handle, name): (Handle, WasmStr)| {
            change(&cx, &handle, &name, |dir, path| dir.create_dir(path))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.remove-directory-at",
        |cx: Cx<'_>, (handle, name): (Handle, WasmStr)| {
            change(&cx, &handle, &name, |dir, path| dir.remove_dir(path))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.unlink-file-at",
        |cx: Cx<'_>, (handle, name): (Handle, WasmStr)| {
            change(&cx, &handle, &name, |dir, path| dir.remove_file_or_symlink(path))
        },
    )?;
    types.func_wrap("[method]descriptor.link-at", link_at)?;
    types.func_wrap("[method]descriptor.rename-at", rename_at)?;
    types.func_wrap("[method]descriptor.symlink-at", symlink_at)?;
    let grants = Arc::clone(grants);
    types.func_wrap(
        "[method]descriptor.metadata-hash-at",
        move |cx: Cx<'_>, (handle, flags, name): (Handle, PathFlags, WasmStr)| {
            let found = look(&cx, &handle, flags, &name)?;
            Ok((found.map(|of| hash(&grants.hasher, (of.dev(), of.ino()))),))
        },
    )
}

fn open_at(
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
    let opened = match (directory(&cx, &handle)?, path(&cx, &name)?) {
        (Ok(directory), Ok(path)) => open(directory, &path, how),
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    Ok((match opened {
        Ok(descriptor) => Ok(cx.data_mut().table.push(descriptor)?),
        Err(error) => Err(error),
    },))
}

fn stat_at(
    cx: Cx<'_>,
    (handle, flags, name): (Handle, PathFlags, WasmStr),
) -> HostResult<DescriptorStat> {
    Ok((look(&cx, &handle, flags, &name)?.map(|of| stat_of(&of)),))
}

fn look(
    cx: &Cx<'_>,
    handle: &Handle,
    flags: PathFlags,
    name: &WasmStr,
) -> Result<Outcome<cap_std::fs::Metadata>> {
    Ok(at(directory(cx, handle)?, path(cx, name)?, |Directory { dir, .. }, path| {
        if follows(flags) { dir.metadata(path) } else { dir.symlink_metadata(path) }
    }))
}

/// Reads a symbolic link, unless it leads out of the directory.
fn readlink_at(cx: Cx<'_>, (handle, name): (Handle, WasmStr)) -> HostResult<String> {
    let target = at(directory(&cx, &handle)?, path(&cx, &name)?, |directory, path| {
        directory.dir.read_link(path)
    });
    let text = |target: std::path::PathBuf| {
        target.into_os_string().into_string().map_err(|_| ErrorCode::IllegalByteSequence)
    };
    Ok((target.and_then(text),))
}

/// Creates a hard link. For a symbolic link it links to the link itself, not to its target.
fn link_at(
    cx: Cx<'_>,
    (handle, flags, old, new_handle, new): (Handle, PathFlags, WasmStr, Handle, WasmStr),
) -> HostResult<()> {
    if follows(flags) {
        return Ok((Err(ErrorCode::Invalid),));
    }
    between(&cx, (&handle, &old), (&new_handle, &new), |from, old, to, new| {
        from.hard_link(old, to, new)
    })
}

fn rename_at(
    cx: Cx<'_>,
    (handle, old, new_handle, new): (Handle, WasmStr, Handle, WasmStr),
) -> HostResult<()> {
    between(&cx, (&handle, &old), (&new_handle, &new), |from, old, to, new| {
        from.rename(old, to, new)
    })
}

/// Creates a symbolic link. A target that begins at the root is refused, because a program
/// outside of the sandbox could follow it.
fn symlink_at(cx: Cx<'_>, (handle, old, new): (Handle, WasmStr, WasmStr)) -> HostResult<()> {
    let target = match path(&cx, &old)? {
        Ok(target) => target,
        Err(error) => return Ok((Err(error),)),
    };
    change(&cx, &handle, &new, |dir, path| DirExt::symlink(dir, &target, path))
}

type Dir = cap_std::fs::Dir;

/// Runs an operation on a path in a directory that is writable.
fn change(
    cx: &Cx<'_>,
    handle: &Handle,
    name: &WasmStr,
    how: impl FnOnce(&Dir, &str) -> std::io::Result<()>,
) -> HostResult<()> {
    let changed =
        at(writable(cx, handle)?, path(cx, name)?, |directory, path| how(&directory.dir, path));
    Ok((changed,))
}

/// Runs an operation between two directories that are both writable.
fn between(
    cx: &Cx<'_>,
    (from, old): (&Handle, &WasmStr),
    (to, new): (&Handle, &WasmStr),
    how: impl FnOnce(&Dir, &str, &Dir, &str) -> std::io::Result<()>,
) -> HostResult<()> {
    let new = match path(cx, new)? {
        Ok(new) => new,
        Err(error) => return Ok((Err(error),)),
    };
    let to = match writable(cx, to)? {
        Ok(to) => to,
        Err(error) => return Ok((Err(error),)),
    };
    let done =
        at(writable(cx, from)?, path(cx, old)?, |from, old| how(&from.dir, old, &to.dir, &new));
    Ok((done,))
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
