//! Which descriptors a handler needs to serve.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use crate::host::grants::Grants;

/// How wasmtime names the files that memories are copied from as they are written to.
const IMAGE: &str = "/memfd:wasm-memory-image";

/// What a handler holds open beside its request: the directories that it was granted,
/// and what its memories begin with. They are open for as long as the handler lives.
#[derive(Clone)]
pub struct HandlerDescriptors {
    pub(crate) grants: Arc<Grants>,
    pub(crate) images: Arc<[RawFd]>,
}

impl HandlerDescriptors {
    /// What a process that closes all others must keep.
    pub fn iter(&self) -> impl Iterator<Item = RawFd> {
        let directories = self.grants.directories.iter();
        let directories = directories.map(|(directory, _)| directory.dir.as_fd().as_raw_fd());
        directories.chain(self.images.iter().copied())
    }
}

/// The descriptors of what memories begin with, those of other components too: wasmtime
/// does not tell.
///
/// Errors: there is no `/proc`.
pub(crate) fn memory_images() -> io::Result<Arc<[RawFd]>> {
    let is_image = |fd: &RawFd| {
        fs::read_link(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|link| link.to_string_lossy().starts_with(IMAGE))
    };
    let numbers = fs::read_dir("/proc/self/fd")?.flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(is_image).collect())
}
