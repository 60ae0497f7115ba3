//! Compiled components on disk.
//!
//! A compiled component is machine code, so the host must not load an entry that another
//! user could have written. The directory and each entry must belong to the user who runs
//! the host, and no other user may write to them.

use std::fs::{self, DirBuilder, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, open, openat, unlinkat};
use rustix::process::geteuid;
use sha2::{Digest, Sha256};

use crate::error::CacheError;
use crate::load::adapter;
use crate::load::footprint::{FOOTPRINT_BYTES, Footprint};
use crate::sys::Artifact;

/// The beginning of every entry. Its digest, its footprint and the code follow. Change the
/// number with the format, and with the way in which a footprint is counted.
const HEADER: &[u8; 16] = b"wasm-socketsrv4\n";
const DIGEST: usize = 32;

/// The number of entries that are kept. The oldest are removed first.
const MAX_ENTRIES: usize = 100;
/// The beginning of the names of sets of functions: one for each version and each set of settings
/// of the engine.
const FUNCTIONS: &str = "functions-";
/// The beginning of the names of templates: one for each interpreter, too.
const TEMPLATE: &str = "template-";
/// The number of each of these two that is kept.
const MAX_SHARED: usize = 4;
/// The largest entry that is read, in bytes.
const MAX_ENTRY: u64 = 2 << 30;

/// The cache in which compiled components are kept between runs.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: Option<Arc<Directory>>,
}

/// The directory with the entries. The cache uses the directory that it has checked, also
/// if another user, who can write to a directory above it, puts something in its place.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    opened: File,
}

impl Directory {
    /// Returns a path to the open directory itself.
    fn itself(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.opened.as_raw_fd()).into()
    }
}

/// A compiled component from the cache.
pub(crate) struct CachedComponent {
    pub artifact: Artifact,
    pub footprint: Footprint,
}

/// The identity of an entry's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// Returns the key of a component for an engine. It covers the content, everything about
    /// the engine that shapes the code, with its version, the adapter of core modules, and the
    /// format of entries.
    pub(crate) fn new(engine: &wasmtime::Engine, component: &[u8]) -> Key {
        let mut hasher = Sha256Hasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.update(adapter::version());
        let digest = hasher.0.chain_update(HEADER).chain_update(Sha256::digest(component));
        Key(hex(&digest.finalize()))
    }

    /// Returns the key of a component that is instrumented for a snapshot.
    pub(crate) fn of_instrumented(engine: &wasmtime::Engine, component: &[u8]) -> Key {
        let Key(digest) = Key::new(engine, component);
        Key(format!("snapshot-{digest}"))
    }

    /// Returns the key of the set of functions for an engine.
    pub(crate) fn of_functions(engine: &wasmtime::Engine) -> Key {
        let mut hasher = Sha256Hasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Key(format!("{FUNCTIONS}{}", hex(&hasher.0.chain_update(HEADER).finalize())))
    }

    /// Returns the key of the template of components with this digest of their code.
    pub(crate) fn of_template(engine: &wasmtime::Engine, code: &[u8; 32]) -> Key {
        let Key(digest) = Key::new(engine, code);
        Key(format!("{TEMPLATE}{digest}"))
    }

    /// Returns the digest of an entry with this key. An entry in the place of another counts
    /// as damaged.
    fn digest(&self, footprint: &[u8], code: &[u8]) -> [u8; DIGEST] {
        let digest = Sha256::new().chain_update(&self.0).chain_update(footprint);
        digest.chain_update(code).finalize().into()
    }
}

/// A hasher without collisions that an attacker can make.
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
    /// Returns no cache: every load compiles.
    pub fn disabled() -> Self {
        Cache { directory: None }
    }

    /// Opens the cache of the user: `wasm-socketserver` in `XDG_CACHE_HOME`, or else in
    /// `.cache` of `HOME`. It creates the directory if that does not exist.
    ///
    /// # Errors
    ///
    /// Neither variable is set, the directory cannot be created, it does not belong to the
    /// user, or other users can access it.
    pub fn open_user() -> Result<Self, CacheError> {
        let variable =
            |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let base = variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .ok_or(CacheError::NoDirectory)?;
        Cache::open(&base.join("wasm-socketserver"))
    }

    /// Opens a cache in `directory`, and creates the directory if it does not exist.
    ///
    /// # Errors
    ///
    /// The directory cannot be created, it does not belong to the user, or other users can
    /// access it.
    pub fn open(directory: &Path) -> Result<Self, CacheError> {
        let io_error = |error| CacheError::Io { path: directory.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io_error)?;
        let metadata = fs::symlink_metadata(directory).map_err(io_error)?;
        if !metadata.is_dir() {
            let why = "it is not a directory".to_owned();
            return Err(CacheError::NotPrivate { path: directory.to_owned(), why });
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(directory, flags, Mode::empty()).map_err(io::Error::from);
        let opened = File::from(opened.map_err(io_error)?);
        check_private(directory, &opened.metadata().map_err(io_error)?, 0o077)?;
        let path = directory.to_owned();
        Ok(Cache { directory: Some(Arc::new(Directory { path, opened })) })
    }

    /// Returns the component under `key`, if there is one and it is whole. An entry that is
    /// damaged is removed.
    ///
    /// # Errors
    ///
    /// The entry is not private, or cannot be read.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<CachedComponent>, CacheError> {
        let component = |(footprint, code)| CachedComponent {
            artifact: Artifact::from_private_cache(code),
            footprint: Footprint::from_bytes(footprint),
        };
        Ok(self.read(key)?.map(component))
    }

    /// Returns a set of functions or a template, if there is one and it is whole.
    ///
    /// # Errors
    ///
    /// The entry is not private, or cannot be read.
    pub(crate) fn content(&self, key: &Key) -> Result<Option<Vec<u8>>, CacheError> {
        Ok(self.read(key)?.map(|(_, content)| content))
    }

    fn read(&self, key: &Key) -> Result<Option<Entry>, CacheError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let path = directory.path.join(&key.0);
        let io_error = |error| CacheError::Io { path: path.clone(), error };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&directory.opened, &key.0, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io_error(error.into())),
        };
        // The metadata of the open file, so that the file that is checked is read.
        let metadata = file.metadata().map_err(io_error)?;
        if !metadata.is_file() {
            let why = "it is not a file".to_owned();
            return Err(CacheError::NotPrivate { path, why });
        }
        check_private(&path, &metadata, 0o022)?;
        let entry = read_entry(&file, metadata.len(), key).map_err(io_error)?;
        if entry.is_none() {
            tracing::warn!(path = %path.display(), "a damaged entry of the cache is removed");
            unlinkat(&directory.opened, &key.0, AtFlags::empty())
                .map_err(|error| io_error(error.into()))?;
        }
        Ok(entry)
    }

    /// Keeps a component under `key`: whole or not at all, also if other processes write at
    /// the same time.
    ///
    /// # Errors
    ///
    /// The entry cannot be written.
    pub(crate) fn put(
        &self,
        key: &Key,
        artifact: &Artifact,
        footprint: &Footprint,
    ) -> Result<(), CacheError> {
        self.write(key, footprint.to_bytes(), artifact.bytes())
    }

    /// Keeps a set of functions or a template under `key`, as [`put`](Self::put) does.
    ///
    /// # Errors
    ///
    /// The entry cannot be written.
    pub(crate) fn put_content(&self, key: &Key, content: &[u8]) -> Result<(), CacheError> {
        self.write(key, [0; FOOTPRINT_BYTES], content)
    }

    fn write(
        &self,
        key: &Key,
        footprint: [u8; FOOTPRINT_BYTES],
        content: &[u8],
    ) -> Result<(), CacheError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let io_error = |error| CacheError::Io { path: directory.path.join(&key.0), error };
        let directory = &directory.itself();
        // tempfile makes the file readable and writable by the owner alone.
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(io_error)?;
        for part in [HEADER.as_slice(), &key.digest(&footprint, content), &footprint, content] {
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

/// The footprint and the content of an entry. Sets of functions and templates have no footprint.
type Entry = ([u8; FOOTPRINT_BYTES], Vec<u8>);

/// Reads an entry. Returns `None` if it is damaged, or is the entry of another key.
fn read_entry(mut file: &File, size: u64, key: &Key) -> io::Result<Option<Entry>> {
    let mut header = [0; HEADER.len()];
    let (mut digest, mut footprint) = ([0; DIGEST], [0; FOOTPRINT_BYTES]);
    if size > MAX_ENTRY || size < (header.len() + digest.len() + footprint.len()) as u64 {
        return Ok(None);
    }
    file.read_exact(&mut header)?;
    file.read_exact(&mut digest)?;
    file.read_exact(&mut footprint)?;
    let mut code = Vec::new();
    file.take(MAX_ENTRY).read_to_end(&mut code)?;
    let is_whole = header == *HEADER && digest == key.digest(&footprint, &code);
    Ok(is_whole.then_some((footprint, code)))
}

/// Removes the oldest entries beyond [`MAX_ENTRIES`] and [`MAX_SHARED`].
fn prune(directory: &Path) -> io::Result<()> {
    let (mut entries, mut functions, mut templates) = (Vec::new(), Vec::new(), Vec::new());
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Another process may have removed it meanwhile. Folders are not entries.
        let Ok(metadata) = entry.metadata() else { continue };
        if let (true, Ok(modified)) = (metadata.is_file(), metadata.modified()) {
            let name = entry.file_name();
            let kind = match name.as_encoded_bytes() {
                name if name.starts_with(FUNCTIONS.as_bytes()) => &mut functions,
                name if name.starts_with(TEMPLATE.as_bytes()) => &mut templates,
                _ => &mut entries,
            };
            kind.push((modified, entry.path()));
        }
    }
    let shared = [functions, templates].map(|entries| (entries, MAX_SHARED));
    for (mut entries, most) in shared.into_iter().chain([(entries, MAX_ENTRIES)]) {
        entries.sort();
        for (_, path) in entries.iter().take(entries.len().saturating_sub(most)) {
            let _ = fs::remove_file(path);
        }
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
