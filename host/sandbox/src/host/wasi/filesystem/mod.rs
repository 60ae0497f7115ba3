//! `wasi:filesystem`: the directories that the operator granted, and nothing
//! outside of them.
//!
//! Paths are resolved by `cap-std`, which lets none lead out of a directory, be
//! it by `..`, from the root or through a symbolic link. What is neither a file
//! nor a directory is not opened: reading a pipe or a device may wait for ever.

mod descriptor;
mod entries;
mod errno;
mod open;
mod paths;
mod times;
mod types;

use std::sync::Arc;

use wasmtime::component::{Linker, Resource, ResourceType, WasmStr};
use wasmtime::{Result, StoreContextMut};

use crate::host::grants::{Directory, Grants};
use crate::host::state::State;

use self::descriptor::Descriptor;
use self::entries::Entries;
use self::errno::ErrorCode;
use super::streams::StreamFailure;

/// The longest path, in bytes: `PATH_MAX` of Linux.
const LONGEST_PATH: usize = 4096;

type Cx<'a> = StoreContextMut<'a, State>;
type Handle = Resource<Descriptor>;
/// What there is to tell a guest.
type Outcome<T> = std::result::Result<T, ErrorCode>;
/// What a guest gets: the host ends it if the outer result is an error.
type Answer<T> = Result<(Outcome<T>,)>;

pub(super) fn add_preopens(linker: &mut Linker<State>, grants: &Arc<Grants>) -> Result<()> {
    let mut preopens = linker.instance("wasi:filesystem/preopens@0.2.0")?;
    let grants = Arc::clone(grants);
    preopens.func_wrap("get-directories", move |mut cx: Cx<'_>, ()| {
        let table = &mut cx.data_mut().table;
        let push = |(directory, name): &(Directory, String)| {
            Ok((table.push(Descriptor::Directory(directory.clone()))?, name.clone()))
        };
        Ok((grants.directories.iter().map(push).collect::<Result<Vec<_>>>()?,))
    })
}

pub(super) fn add_types(linker: &mut Linker<State>, grants: &Arc<Grants>) -> Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.2.0")?;
    types.resource("descriptor", ResourceType::host::<Descriptor>(), |mut cx, rep| {
        cx.data_mut().table.delete(Handle::new_own(rep))?;
        Ok(())
    })?;
    types.resource("directory-entry-stream", ResourceType::host::<Entries>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Entries>::new_own(rep))?;
        Ok(())
    })?;
    descriptor::add_to_linker(&mut types, grants)?;
    times::add_to_linker(&mut types)?;
    paths::add_to_linker(&mut types, grants)?;
    entries::add_to_linker(&mut types)?;
    types.func_wrap("filesystem-error-code", |cx: Cx<'_>, (error,): (Resource<StreamFailure>,)| {
        Ok((Some(ErrorCode::from(&cx.data().table.get(&error)?.0)),))
    })
}

/// The path that a guest gave, if it is not too long for one.
fn path(cx: &Cx<'_>, path: &WasmStr) -> Result<Outcome<String>> {
    let path = path.to_str(cx)?;
    if path.len() > LONGEST_PATH {
        return Ok(Err(ErrorCode::NameTooLong));
    }
    Ok(Ok(path.into_owned()))
}

/// The directory that a guest holds.
fn directory<'a>(cx: &'a Cx<'_>, handle: &Handle) -> Result<Outcome<&'a Directory>> {
    Ok(match cx.data().table.get(handle)? {
        Descriptor::Directory(directory) => Ok(directory),
        Descriptor::File(_) => Err(ErrorCode::NotDirectory),
    })
}

/// As [`directory`], if it may be changed.
fn writable<'a>(cx: &'a Cx<'_>, handle: &Handle) -> Result<Outcome<&'a Directory>> {
    let checked = |directory: &'a Directory| {
        if directory.writable { Ok(directory) } else { Err(ErrorCode::ReadOnly) }
    };
    Ok(directory(cx, handle)?.and_then(checked))
}
