//! `wasi:filesystem`: the directories that the operator granted, and nothing outside of
//! them.
//!
//! `cap-std` resolves paths. It lets no path lead out of a directory, be it by `..`, from the
//! root or through a symbolic link. The host opens files and directories only, because to
//! read a pipe or a device may wait for ever.

mod descriptor;
mod entries;
mod errno;
mod open;
mod paths;
mod times;

pub(crate) use self::descriptor::Descriptor;

use std::io;
use std::sync::Arc;

use wasmtime::component::{Linker, Resource, ResourceTable, WasmStr};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi_io::streams::Error;

use crate::host::elsewhere::with_files;
use crate::host::grants::{Directory, Grants};
use crate::host::state::State;
use crate::host::waits::{Waits, define_resource};

use self::entries::Entries;
use self::errno::ErrorCode;

/// The longest path, in bytes: `PATH_MAX` of Linux.
const LONGEST_PATH: usize = 4096;

type Cx<'a> = StoreContextMut<'a, State>;
type Handle = Resource<Descriptor>;
/// The result that a guest receives.
type Outcome<T> = std::result::Result<T, ErrorCode>;
/// The result of a host call. An outer error ends the guest.
type HostResult<T> = Result<(Outcome<T>,)>;

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

pub(super) fn add_types(
    linker: &mut Linker<State>,
    grants: &Arc<Grants>,
    waits: Waits,
) -> Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.2.0")?;
    define_resource!(types, waits, "descriptor", Descriptor, drop_descriptor)?;
    define_resource!(types, waits, "directory-entry-stream", Entries, drop_entries)?;
    descriptor::add_to_linker(&mut types, grants, waits)?;
    times::add_to_linker(&mut types, waits)?;
    paths::add_to_linker(&mut types, grants, waits)?;
    entries::add_to_linker(&mut types, waits)?;
    types.func_wrap("filesystem-error-code", |cx: Cx<'_>, (error,): (Resource<Error>,)| {
        let error = cx.data().table.get(&error)?.downcast_ref::<io::Error>();
        Ok((error.map(ErrorCode::from),))
    })
}

/// Closes a file, if the guest has no stream of it.
async fn drop_descriptor(mut cx: Cx<'_>, rep: u32) -> Result<()> {
    let state = cx.data_mut();
    match state.table.delete(Handle::new_own(rep))? {
        // It is open with `O_PATH`.
        Descriptor::Directory(_) => Ok(()),
        Descriptor::File(file) => with_files(state, move |_| drop(file)).await,
    }
}

async fn drop_entries(mut cx: Cx<'_>, rep: u32) -> Result<()> {
    let state = cx.data_mut();
    let entries = state.table.delete(Resource::<Entries>::new_own(rep))?;
    with_files(state, move |_| drop(entries)).await
}

/// Returns the path that a guest passed, unless it is too long.
fn path(cx: &Cx<'_>, path: &WasmStr) -> Result<Outcome<String>> {
    let path = path.to_str(cx)?;
    if path.len() > LONGEST_PATH {
        return Ok(Err(ErrorCode::NameTooLong));
    }
    Ok(Ok(path.into_owned()))
}

/// Returns a directory that a guest holds.
fn directory<'a>(table: &'a ResourceTable, handle: &Handle) -> Result<Outcome<&'a Directory>> {
    Ok(match table.get(handle)? {
        Descriptor::Directory(directory) => Ok(directory),
        Descriptor::File(_) => Err(ErrorCode::NotDirectory),
    })
}

/// Returns a directory that a guest holds, if it is writable.
fn writable<'a>(table: &'a ResourceTable, handle: &Handle) -> Result<Outcome<&'a Directory>> {
    let checked = |directory: &'a Directory| {
        if directory.writable { Ok(directory) } else { Err(ErrorCode::ReadOnly) }
    };
    Ok(directory(table, handle)?.and_then(checked))
}
