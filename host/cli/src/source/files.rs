//! The files that the program contains.

use std::path::Path;
use std::{fs, io};

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Writes a file, and creates its folder.
///
/// # Errors
///
/// It cannot be written.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)
}
