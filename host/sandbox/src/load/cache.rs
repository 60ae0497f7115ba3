//! Compiled components, kept on disk.
//!
//! A compiled component is machine code. One that somebody else could have
//! written must never be loaded, so the directory and each entry must belong
//! to the user who runs the host, and to nobody else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};

use crate::error::CacheError;
use crate::sys::Artifact;

/// What every entry begins with; then comes the digest of its key and the rest.
const HEADER: &[u8; 16] = b"wasm-socketsrv2\n";
const DIGEST: usize = 32;

/// How many entries are kept; the oldest go first.
const MAX_ENTRIES: usize = 100;
/// The largest entry that is read, in bytes.
const MAX_ENTRY: u64 = 2 << 30;

/// Where compiled components are kept between runs.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: Option<Arc<Directory>>,
}

/// Where the entries are. What was looked at is what is used, whatever somebody who can
/// write to a directory above it puts in its place.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    opened: File,
}

impl Directory {
    /// A path to the directory itself.
    fn itself(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.opened.as_raw_fd()).into()
    }
}

/// What an entry was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// The key of a component for an engine: its content, with everything
    /// about the engine that shapes the code, its version included.
    pub(crate) fn new(engine: &wasmtime::Engine, component: &[u8]) -> Key {
        let mut hasher = Sha256Hasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let mut digest = hasher.0;
        digest.update(Sha256::digest(component));
        Key(hex(&digest.finalize()))
    }

    /// The digest of code under this key: an entry in the place of another is
    /// as good as damaged.
    fn seal(&self, artifact: &[u8]) -> [u8; DIGEST] {
        Sha256::new().chain_update(&self.0).chain_update(artifact).finalize().into()
    }
}

/// Lets what is `Hash` be digested without collisions that can be made.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl Cache {
    /// No cache: every load compiles.
    pub fn none() -> Self {
        Cache { directory: None }
    }

    /// The cache of the user: `wasm-socketserver` in `XDG_CACHE_HOME`, or else
    /// in `.cache` of `HOME`. It is made if it is not there.
    ///
    /// Errors: neither variable is set; the directory cannot be made; it does
    /// not belong to the user, or others can write to it.
    pub fn of_user() -> Result<Self, CacheError> {
        let variable =
            |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let base = variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .ok_or(CacheError::NoDirectory)?;
        Cache::at(&base.join("wasm-socketserver"))
    }

    /// A cache in `directory`, which is made if it is not there. Otherwise as
    /// [`of_user`](Self::of_user).
    pub fn at(directory: &Path) -> Result<Self, CacheError> {
        let io_error = |error| CacheError::Io { path: directory.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io_error)?;
        let metadata = fs::symlink_metadata(directory).map_err(io_error)?;
        if !metadata.is_dir() {
            let why = "it is not a directory".to_owned();
            return Err(CacheError::NotPrivate { path: directory.to_owned(), why });
        }
        let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::DIRECTORY).bits()).unwrap_or(0);
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(directory);
        let opened = opened.map_err(io_error)?;
        check_private(directory, &opened.metadata().map_err(io_error)?, 0o077)?;
        let path = directory.to_owned();
        Ok(Cache { directory: Some(Arc::new(Directory { path, opened })) })
    }

    /// The artifact kept under `key`, if it is there and whole. One that is
    /// damaged is removed.
    ///
    /// Errors: the entry is not private, or cannot be read.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Artifact>, CacheError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let (path, entry) = (directory.path.join(&key.0), directory.itself().join(&key.0));
        let io_error = |error| CacheError::Io { path: path.clone(), error };
        let no_follow = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
        let file = match OpenOptions::new().read(true).custom_flags(no_follow).open(&entry) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(error)),
        };
        // Of the open file, so that it is what is read.
        let metadata = file.metadata().map_err(io_error)?;
        if !metadata.is_file() {
            let why = "it is not a file".to_owned();
            return Err(CacheError::NotPrivate { path, why });
        }
        check_private(&path, &metadata, 0o022)?;
        let artifact = read_entry(&file, metadata.len(), key).map_err(io_error)?;
        if artifact.is_none() {
            tracing::warn!(path = %path.display(), "a damaged entry of the cache is made anew");
            fs::remove_file(&entry).map_err(io_error)?;
        }
        Ok(artifact.map(Artifact::of_private_cache))
    }

    /// Keeps `artifact` under `key`: whole or not at all, whoever else writes
    /// at the same time.
    pub(crate) fn put(&self, key: &Key, artifact: &Artifact) -> Result<(), CacheError> {
        let artifact = artifact.bytes();
        let Some(directory) = &self.directory else { return Ok(()) };
        let io_error = |error| CacheError::Io { path: directory.path.join(&key.0), error };
        let directory = &directory.itself();
        // tempfile makes it readable and writable by the owner alone.
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(io_error)?;
        for part in [HEADER.as_slice(), &key.seal(artifact), artifact] {
            file.write_all(part).map_err(io_error)?;
        }
        file.persist(directory.join(&key.0)).map_err(|error| io_error(error.error))?;
        prune(directory).map_err(io_error)
    }
}

fn check_private(path: &Path, metadata: &fs::Metadata, others: u32) -> Result<(), CacheError> {
    let why = if metadata.uid() != geteuid().as_raw() {
        format!("it belongs to user {}", metadata.uid())
    } else if metadata.mode() & others != 0 {
        format!("its mode is {:o}", metadata.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(CacheError::NotPrivate { path: path.to_owned(), why })
}

/// What is in an entry; `None` if it is damaged, or that of another key.
fn read_entry(mut file: &File, size: u64, key: &Key) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEADER.len() + DIGEST];
    if size > MAX_ENTRY || size < head.len() as u64 {
        return Ok(None);
    }
    file.read_exact(&mut head)?;
    let mut artifact = Vec::new();
    file.take(MAX_ENTRY).read_to_end(&mut artifact)?;
    let (header, digest) = head.split_at(HEADER.len());
    let whole = header == HEADER && digest == key.seal(&artifact).as_slice();
    Ok(whole.then_some(artifact))
}

/// Removes the oldest entries past [`MAX_ENTRIES`].
fn prune(directory: &Path) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Another process may have removed it meanwhile.
        if let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) {
            entries.push((modified, entry.path()));
        }
    }
    entries.sort();
    for (_, path) in entries.iter().take(entries.len().saturating_sub(MAX_ENTRIES)) {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
