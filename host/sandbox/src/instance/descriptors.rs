//! The descriptors that a handler holds beside its requests.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use crate::host::grants::Grants;

/// The prefix of the names that wasmtime gives to memory images: files whose pages the
/// memories of an instance begin with, and copy when the guest writes to them.
const IMAGE: &str = "/memfd:wasm-memory-image";

/// The descriptors that a handler holds beside its requests: the granted directories, and
/// the images of its memories. They are open for as long as the handler lives.
#[derive(Clone)]
pub struct HandlerDescriptors {
    pub(crate) grants: Arc<Grants>,
    pub(crate) images: Arc<[RawFd]>,
}

impl HandlerDescriptors {
    /// Returns the descriptors that a process must keep when it closes all others.
    pub fn iter(&self) -> impl Iterator<Item = RawFd> {
        let directories = self.grants.directories.iter();
        let directories = directories.map(|(directory, _)| directory.dir.as_fd().as_raw_fd());
        directories.chain(self.images.iter().copied())
    }
}

/// Returns the descriptors of all memory images of this process, also of those of other
/// components: wasmtime does not say which belong to which.
///
/// # Errors
///
/// There is no `/proc`.
pub(crate) fn memory_images() -> io::Result<Arc<[RawFd]>> {
    let is_image = |fd: &RawFd| {
        fs::read_link(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|link| link.to_string_lossy().starts_with(IMAGE))
    };
    let numbers = fs::read_dir("/proc/self/fd")?.flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(is_image).collect())
}
