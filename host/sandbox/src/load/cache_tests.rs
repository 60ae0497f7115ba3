use std::os::unix::fs::{PermissionsExt, chown, symlink};

use super::*;

fn cache() -> (tempfile::TempDir, Cache, Key) {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(&directory.path().join("made/cache")).unwrap();
    let key = Key::new(&wasmtime::Engine::default(), b"a component");
    (directory, cache, key)
}

impl Cache {
    fn directory_path(&self) -> PathBuf {
        self.directory.as_ref().unwrap().path.clone()
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory_path().join(&key.0)
    }
}

fn footprint() -> Footprint {
    Footprint::from_bytes([7; FOOTPRINT_BYTES])
}

/// An artifact that is no code. The tests do not load it.
fn code() -> Artifact {
    Artifact::from_private_cache(b"code".to_vec())
}

#[test]
fn an_entry_is_read_as_it_was_written() {
    let (_directory, cache, key) = cache();
    assert!(cache.get(&key).unwrap().is_none());
    cache.put(&key, &code(), &footprint()).unwrap();
    let cached = cache.get(&key).unwrap().unwrap();
    assert_eq!((cached.artifact.bytes(), cached.footprint), (b"code".as_slice(), footprint()));
    let mode = cache.path(&key).metadata().unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(Cache::disabled().get(&key).unwrap().is_none());
}

#[test]
fn components_and_settings_have_different_keys() {
    let engine = wasmtime::Engine::default();
    let mut other = wasmtime::Config::new();
    other.epoch_interruption(true);
    let other = wasmtime::Engine::new(&other).unwrap();
    assert_eq!(Key::new(&engine, b"a"), Key::new(&engine, b"a"));
    assert_ne!(Key::new(&engine, b"a"), Key::new(&engine, b"b"));
    assert_ne!(Key::new(&engine, b"a"), Key::new(&other, b"a"));
}

#[test]
fn a_damaged_entry_is_removed() {
    let (_directory, cache, key) = cache();
    let path = cache.path(&key);
    cache.put(&key, &code(), &footprint()).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut other_header = whole.clone();
    other_header[0] ^= 1;
    for damaged in
        [flipped, other_header, whole[..whole.len() - 1].to_vec(), whole[..5].to_vec(), Vec::new()]
    {
        fs::write(&path, damaged).unwrap();
        assert!(cache.get(&key).unwrap().is_none());
        assert!(!path.exists());
    }
}

#[test]
fn an_entry_that_other_users_could_have_written_is_refused() {
    let (_directory, cache, key) = cache();
    let path = cache.path(&key);
    let refused = |cache: &Cache| matches!(cache.get(&key), Err(CacheError::NotPrivate { .. }));

    cache.put(&key, &code(), &footprint()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
    assert!(refused(&cache));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(!refused(&cache));

    if geteuid().is_root() {
        chown(&path, Some(12345), None).unwrap();
        assert!(refused(&cache));
        chown(&path, Some(0), None).unwrap();
    }

    let elsewhere = path.with_extension("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(cache.get(&key).is_err());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(cache.get(&key).is_err());
}

#[test]
fn a_directory_that_other_users_can_access_is_refused() {
    let (_directory, cache, _) = cache();
    let directory = cache.directory_path();
    for mode in [0o755, 0o770, 0o707] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let error = Cache::open(&directory).unwrap_err();
        assert!(error.to_string().contains(&format!("its mode is {mode:o}")), "{error}");
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    Cache::open(&directory).unwrap();

    let link = directory.with_extension("link");
    symlink(&directory, &link).unwrap();
    assert!(Cache::open(&link).is_err());
}

/// The attacker may write to the directory above, and has another directory of the user to
/// put there.
#[test]
fn a_directory_in_the_place_of_the_opened_one_is_not_used() {
    let (directory, cache, key) = cache();
    let elsewhere = Cache::open(&directory.path().join("elsewhere")).unwrap();
    elsewhere.put(&key, &code(), &footprint()).unwrap();
    let away = directory.path().join("away");
    fs::rename(cache.directory_path(), &away).unwrap();
    symlink(elsewhere.directory_path(), cache.directory_path()).unwrap();
    assert!(cache.get(&key).unwrap().is_none());
    cache.put(&key, &code(), &footprint()).unwrap();
    assert!(away.join(&key.0).exists());
}

#[test]
fn the_oldest_entries_are_removed_first() {
    let (_directory, cache, _) = cache();
    let engine = wasmtime::Engine::default();
    let key = |number: usize| Key::new(&engine, &number.to_le_bytes());
    for number in 0..MAX_ENTRIES + 5 {
        cache.put(&key(number), &code(), &footprint()).unwrap();
        let path = cache.path(&key(number));
        let age = std::time::Duration::from_secs(1000 - number as u64);
        File::open(path).unwrap().set_modified(std::time::SystemTime::now() - age).unwrap();
    }
    assert!(cache.get(&key(0)).unwrap().is_none());
    assert!(cache.get(&key(MAX_ENTRIES + 4)).unwrap().is_some());
    assert_eq!(fs::read_dir(cache.directory_path()).unwrap().count(), MAX_ENTRIES);
}
