//! The cache of compiled handlers: the host does not use entries that another user could have
//! written.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use socketserver_tests::process::Server;

use crate::client::ask;
use crate::fixture::{FIXTURE, File, Fixture, compiles, serve};

/// Compiles a handler, and returns the path of its entry in the cache.
fn make_entry(cache: &Path, handler: &Path) -> PathBuf {
    let directory = cache.join("wasm-socketserver");
    let names = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&directory).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let before = names();
    compiles(cache, handler, &[]);
    names().into_iter().find(|name| !before.contains(name)).unwrap()
}

#[test]
fn forged_entries_of_the_cache_are_not_used() {
    let cache = tempfile::tempdir().unwrap();
    let (cache, elsewhere) = (cache.path(), cache.path().join("elsewhere"));
    let handler = |fields| File::new("entry.wat", Fixture { fields, ..FIXTURE }.text().as_bytes());
    let (one, other) = (handler("(func $one)"), handler("(func $other)"));
    let entry = make_entry(cache, &one.path);
    let other_entry = make_entry(cache, &other.path);
    assert!(!compiles(cache, &one.path, &[]));
    let whole = fs::read(&entry).unwrap();

    // A damaged entry: the host compiles the handler again and replaces the entry.
    fs::write(&entry, &whole[..whole.len() - 1]).unwrap();
    assert!(compiles(cache, &one.path, &[]));
    assert_eq!(fs::read(&entry).unwrap(), whole);

    // Entries that another user could have written: the host neither uses nor replaces them.
    fs::rename(&entry, &elsewhere).unwrap();
    symlink(&elsewhere, &entry).unwrap();
    assert!(compiles(cache, &one.path, &[]));
    fs::remove_file(&entry).unwrap();
    fs::rename(&elsewhere, &entry).unwrap();
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o620)).unwrap();
    assert!(compiles(cache, &one.path, &[]));
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o600)).unwrap();
    if chown(&entry, Some(12345), None).is_ok() {
        assert!(compiles(cache, &one.path, &[]));
        chown(&entry, Some(0), None).unwrap();
    } else {
        println!("skipped: only root can give a file away");
    }
    assert!(!compiles(cache, &one.path, &[]));

    // The intact entry of another component: the host replaces it.
    fs::copy(&other_entry, &entry).unwrap();
    assert!(compiles(cache, &one.path, &[]));
    assert_eq!(fs::read(&entry).unwrap(), whole);
    assert!(!compiles(cache, &other.path, &[]));
}

#[test]
fn a_cache_that_is_not_private_is_not_used_and_a_warning_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("wasm-socketserver");
    let handler = File::new("entry.wat", FIXTURE.text().as_bytes());
    let check_warned = |why: &str| {
        for _ in 0..2 {
            let mut command = serve();
            command.arg(&handler.path).args(["--log-level", "debug"]);
            let mut server =
                Server::start(command.env("XDG_CACHE_HOME", directory.path()), 1).unwrap();
            let line = server.wait_for_log("handlers are compiled at each start").unwrap();
            assert!(line.contains("is not private") && line.contains(why), "{line}");
            assert_eq!(ask(&server, b"-"), b"ok");
            server.stop().unwrap();
            assert!(server.log().iter().any(|line| line.contains("compiling a handler")));
        }
        assert_eq!(fs::read_dir(&cache).map_or(0, Iterator::count), 0);
    };
    fs::create_dir(&cache).unwrap();
    for mode in [0o770, 0o720, 0o707] {
        fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).unwrap();
        check_warned(&format!("its mode is {mode:o}"));
    }
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
    if chown(&cache, Some(12345), None).is_ok() {
        check_warned("it belongs to user 12345");
        chown(&cache, Some(0), None).unwrap();
    } else {
        println!("skipped: only root can give a directory away");
    }
    fs::rename(&cache, directory.path().join("elsewhere")).unwrap();
    symlink(directory.path().join("elsewhere"), &cache).unwrap();
    check_warned("it is not a directory");
    fs::remove_file(&cache).unwrap();
    assert!(compiles(directory.path(), &handler.path, &[]));
    assert!(!compiles(directory.path(), &handler.path, &[]));
}
