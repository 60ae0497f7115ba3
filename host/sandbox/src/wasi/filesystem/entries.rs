//! What is in a directory, an entry at a time.

#![allow(clippy::needless_pass_by_value, reason = "the Linker gives its functions values")]

use cap_std::fs::ReadDir;
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, Resource};

use crate::open_files::Counted;
use crate::state::State;

use super::descriptor::type_of;
use super::errno::ErrorCode;
use super::open::counted;
use super::types::{DescriptorType, DirectoryEntry};
use super::{Answer, Cx, Handle, directory};

/// `directory-entry-stream`.
pub(super) struct Entries(Counted<ReadDir>);

pub(super) fn add_to_linker(types: &mut LinkerInstance<'_, State>) -> Result<()> {
    types.func_wrap("[method]descriptor.read-directory", read_directory)?;
    types.func_wrap("[method]directory-entry-stream.read-directory-entry", read_directory_entry)
}

fn read_directory(mut cx: Cx<'_>, (handle,): (Handle,)) -> Answer<Resource<Entries>> {
    let entries = directory(&cx, &handle)?
        .and_then(|directory| counted(directory, || directory.dir.entries()));
    Ok((match entries {
        Ok(entries) => Ok(cx.data_mut().table.push(Entries(entries))?),
        Err(error) => Err(error),
    },))
}

/// A name that is not text is `illegal-byte-sequence`; the next call goes on
/// behind it.
fn read_directory_entry(
    mut cx: Cx<'_>,
    (entries,): (Resource<Entries>,),
) -> Answer<Option<DirectoryEntry>> {
    let Some(next) = cx.data_mut().table.get_mut(&entries)?.0.next() else {
        return Ok((Ok(None),));
    };
    let entry = next.map_err(ErrorCode::from).and_then(|entry| {
        let name = entry.file_name().into_string();
        Ok(Some(DirectoryEntry {
            descriptor_type: entry.file_type().map_or(DescriptorType::Unknown, type_of),
            name: name.map_err(|_| ErrorCode::IllegalByteSequence)?,
        }))
    });
    Ok((entry,))
}
