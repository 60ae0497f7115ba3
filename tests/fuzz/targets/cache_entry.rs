//! Damaged entries of the cache are never loaded: the host compiles the component again and
//! replaces the entry.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use socketserver_sandbox::{Cache, Component, Description, Engine, EngineSettings, Loader};
use tempfile::TempDir;

/// The content that replaces the entry.
#[derive(Arbitrary, Debug)]
enum Forged<'a> {
    /// Any bytes.
    Bytes(&'a [u8]),
    /// The entry with some bytes changed, the end cut off, and bytes appended.
    Entry { changed: Vec<(u16, u8)>, cut: Option<u16>, more: &'a [u8] },
}

/// A cache with one entry.
struct Kept {
    _directory: TempDir,
    engine: Engine,
    loader: Loader,
    path: PathBuf,
    entry: Vec<u8>,
    description: Description,
}

const COMPONENT: &[u8] = b"(component (core module (func)))";

static KEPT: LazyLock<Kept> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = Cache::open(&directory.path().join("cache")).expect("a cache");
    let loader = Loader::in_process(cache);
    let engine = Engine::new(1, &EngineSettings::default()).expect("an engine");
    let component =
        Component::new(&engine, "fuzz", COMPONENT.to_vec(), &loader).expect("a component");
    let description = component.description().clone();
    let mut entries = fs::read_dir(directory.path().join("cache")).expect("a directory");
    let path = entries.next().expect("an entry").expect("an entry").path();
    let entry = fs::read(&path).expect("an entry");
    Kept { _directory: directory, engine, loader, path, entry, description }
});

fuzz_target!(|forged: Forged<'_>| {
    let Kept { engine, loader, path, entry, description, .. } = &*KEPT;
    fs::write(path, forged.bytes(entry)).expect("writing it");
    let component = Component::new(engine, "fuzz", COMPONENT.to_vec(), loader);
    assert_eq!(component.expect("compiled anew").description(), description);
    // An entry that the host loaded would not have been replaced.
    assert!(fs::read(path).is_ok_and(|found| found == *entry), "the host loaded the entry");
});

impl Forged<'_> {
    fn bytes(&self, entry: &[u8]) -> Vec<u8> {
        match self {
            Forged::Bytes(bytes) => bytes.to_vec(),
            Forged::Entry { changed, cut, more } => {
                let mut forged = entry.to_vec();
                for (at, with) in changed {
                    let at = usize::from(*at) % forged.len();
                    forged[at] ^= with;
                }
                cut.inspect(|cut| forged.truncate(usize::from(*cut)));
                forged.extend_from_slice(more);
                forged
            }
        }
    }
}
