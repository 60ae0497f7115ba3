//! The directories that a handler is granted, and the files beside them.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use tempfile::TempDir;

use super::{failure, serve};
use crate::client::ask;
use crate::fixture::Served;

/// Errors of `wasi:filesystem`, as the handler sends them.
const BAD_DESCRIPTOR: &[u8] = b"E\x03";
const EXIST: &[u8] = b"E\x07";
const IS_DIRECTORY: &[u8] = b"E\x0e";
const NAME_TOO_LONG: &[u8] = b"E\x12";
const NO_ENTRY: &[u8] = b"E\x14";
const NOT_PERMITTED: &[u8] = b"E\x1f";
const READ_ONLY: &[u8] = b"E\x21";
const OK: &[u8] = b"k";

/// Two directories with files, of which a handler is granted one.
struct Directories {
    parent: TempDir,
}

impl Directories {
    fn new() -> Directories {
        let directories = Directories { parent: tempfile::tempdir().unwrap() };
        for (path, content) in
            [("in/file", "inside"), ("in/sub/deep", "deeper"), ("out/secret", "secret")]
        {
            let path = directories.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        directories
    }

    fn path(&self, name: &str) -> PathBuf {
        self.parent.path().join(name)
    }

    /// Serves a handler that is granted the directory `in`.
    fn serve(&self, rights: &str, options: &[&str]) -> Served {
        let dir = format!("{}::/data{rights}", self.path("in").display());
        serve(&[&["--dir", &dir][..], options].concat())
    }
}

/// The options for each way of running requests. The last three run in the jail, if the machine
/// has one.
const MODES: [&[&str]; 6] = [
    &["--concurrency", "sync"],
    &["--concurrency", "threading"],
    &["--concurrency", "fibers"],
    &["--concurrency", "forking", "--jail", "try"],
    &["--workers", "1", "--jail", "try"],
    &["--workers", "1", "--concurrency", "fibers", "--jail", "try"],
];

/// Has the handler do `action` with one path, or with two that a zero byte separates.
fn act(served: &Served, action: u8, path: &str) -> Vec<u8> {
    ask(&served.server, &[&[action], path.as_bytes()].concat())
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_granted_directory_has_its_name_and_its_files_can_be_read() {
    for mode in MODES {
        for rights in ["", ":ro"] {
            let directories = Directories::new();
            let served = directories.serve(rights, mode);
            assert_eq!(ask(&served.server, b"p"), b"/data\nk", "{mode:?}");
            assert_eq!(act(&served, b'r', "file"), b"kinside", "{mode:?}");
            assert_eq!(act(&served, b'r', "sub/../sub/./deep"), b"kdeeper", "{mode:?}");
            assert_eq!(act(&served, b'r', "missing"), NO_ENTRY);
            assert_eq!(act(&served, b'S', "file"), OK, "{mode:?}");
            assert_eq!(act(&served, b'D', "sub"), b"deep\nk", "{mode:?}");
            let mut entries = act(&served, b'D', ".");
            assert_eq!(entries.pop(), Some(b'k'));
            let entries = String::from_utf8(entries).unwrap();
            let mut entries: Vec<&str> = entries.lines().collect();
            entries.sort_unstable();
            assert_eq!(entries, ["file", "sub"], "{mode:?}");
        }
    }
}

#[test]
fn a_file_can_be_copied_to_standard_output() {
    let directories = Directories::new();
    let mut served = directories.serve(":ro", &[]);
    assert_eq!(act(&served, b'c', "file"), OK);
    served.server.wait_for_log("INFO guest: \"inside\" handler").unwrap();
}

#[test]
fn a_writable_directory_can_be_changed_in_each_way() {
    for mode in MODES {
        let directories = Directories::new();
        let inside = |name: &str| directories.path("in").join(name);
        let served = directories.serve("", mode);
        let act = |what, path| act(&served, what, path);
        assert_eq!(act(b'w', "new"), OK, "{mode:?}");
        assert_eq!(read(&inside("new")), "written");
        assert_eq!(act(b'w', "file"), OK);
        assert_eq!(read(&inside("file")), "written");
        assert_eq!(act(b'a', "file"), OK, "{mode:?}");
        assert_eq!(act(b'a', "file"), OK);
        assert_eq!(read(&inside("file")), "writtenwrittenwritten");
        assert_eq!(act(b't', "file"), OK);
        assert_eq!(read(&inside("file")), "");
        assert_eq!(act(b'C', "made"), OK);
        assert_eq!(act(b'm', "sub/directory"), OK, "{mode:?}");
        assert_eq!(act(b'm', "sub/directory"), EXIST);
        assert_eq!(act(b'M', "sub/directory"), OK);
        assert_eq!(act(b'v', "new\0sub/directory/moved"), OK, "{mode:?}");
        assert_eq!(read(&inside("sub/directory/moved")), "written");
        assert_eq!(act(b'l', "sub/deep\0linked"), OK, "{mode:?}");
        assert_eq!(act(b'L', "sub/deep\0by name"), OK, "{mode:?}");
        assert_eq!(act(b'r', "by name"), b"kdeeper");
        assert_eq!(act(b'q', "by name"), OK, "{mode:?}");
        assert_eq!(act(b'u', "linked"), OK, "{mode:?}");
        assert_eq!(act(b'u', "by name"), OK);
        assert_eq!(act(b'u', "sub/directory/moved"), OK);
        assert_eq!(act(b'd', "sub/directory"), OK, "{mode:?}");
        assert!(!inside("sub/directory").exists());
        assert_eq!(act(b'U', "sub/deep"), OK, "{mode:?}");
        let modified = fs::metadata(inside("sub/deep")).unwrap().modified().unwrap();
        assert_eq!(modified, SystemTime::UNIX_EPOCH);
        assert_eq!(act(b'V', ""), OK, "{mode:?}");
        // The handler opened this file to read it.
        assert_eq!(act(b's', "sub/deep"), BAD_DESCRIPTOR);
    }
}

#[test]
fn a_read_only_directory_cannot_be_changed_in_any_way() {
    for mode in MODES {
        let directories = Directories::new();
        symlink("file", directories.path("in/link")).unwrap();
        let served = directories.serve(":ro", mode);
        for (what, path) in [
            (b'w', "new"),
            (b'w', "file"),
            (b'W', "file"),
            (b'M', "sub"),
            (b't', "file"),
            (b'C', "new"),
            (b'a', "file"),
            (b'u', "file"),
            (b'u', "link"),
            (b'm', "new"),
            (b'd', "sub"),
            (b'v', "file\0new"),
            (b'l', "file\0new"),
            (b'L', "file\0new"),
            (b'U', "file"),
            (b'V', ""),
        ] {
            assert_eq!(act(&served, what, path), READ_ONLY, "{mode:?} {}", char::from(what));
        }
        assert_eq!(act(&served, b's', "file"), BAD_DESCRIPTOR);
        assert_eq!(read(&directories.path("in/file")), "inside");
        assert_eq!(fs::read_dir(directories.path("in")).unwrap().count(), 3);
    }
}

#[test]
fn no_path_leads_out_of_a_granted_directory() {
    for mode in MODES {
        let directories = Directories::new();
        let secret = directories.path("out/secret");
        symlink("../out/secret", directories.path("in/by path")).unwrap();
        symlink("../out", directories.path("in/by directory")).unwrap();
        symlink(&secret, directories.path("in/from root")).unwrap();
        symlink("/", directories.path("in/root")).unwrap();
        symlink("/proc/self/root", directories.path("in/proc")).unwrap();
        let served = directories.serve("", mode);
        let secret = secret.to_str().unwrap();
        let from_root = format!("root{secret}");
        let paths = [
            "../out/secret",
            "sub/../../out/secret",
            "..",
            "/",
            "/etc/passwd",
            secret,
            "by path",
            "by directory/secret",
            "from root",
            &from_root,
            "proc/etc/passwd",
        ];
        for path in paths {
            for what in *b"rwWaSUD" {
                let said = act(&served, what, path);
                assert_eq!(said, NOT_PERMITTED, "{mode:?} {} {path}", char::from(what));
            }
        }
        for what in *b"umd" {
            assert_eq!(act(&served, what, "../out/secret"), NOT_PERMITTED, "{mode:?}");
            assert_eq!(act(&served, what, "by directory/secret"), NOT_PERMITTED, "{mode:?}");
        }
        for what in *b"vl" {
            for names in ["file\0../out/file", "../out/secret\0file", "file\0by directory/new"] {
                assert_eq!(act(&served, what, names), NOT_PERMITTED, "{mode:?} {names}");
            }
        }
        // The handler cannot read links that lead outside, nor follow one that it makes.
        assert_eq!(act(&served, b'L', "/etc/passwd\0mine"), NOT_PERMITTED);
        assert_eq!(act(&served, b'q', "from root"), NOT_PERMITTED);
        assert_eq!(act(&served, b'L', "../out/secret\0mine"), OK);
        assert_eq!(act(&served, b'r', "mine"), NOT_PERMITTED);
        assert_eq!(read(&directories.path("out/secret")), "secret");
        assert_eq!(fs::read_dir(directories.path("out")).unwrap().count(), 1);
    }
}

/// Opening a file of another type can block for ever, or have effects.
#[test]
fn only_files_and_directories_can_be_opened() {
    for mode in MODES {
        let directories = Directories::new();
        let pipe = directories.path("in/pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        let _socket = UnixListener::bind(directories.path("in/socket")).unwrap();
        symlink("pipe", directories.path("in/link")).unwrap();
        let served = directories.serve("", mode);
        for name in ["pipe", "socket", "link"] {
            for what in *b"rwWta" {
                let said = act(&served, what, name);
                assert_eq!(said, NOT_PERMITTED, "{mode:?} {} {name}", char::from(what));
            }
            assert_eq!(act(&served, b'S', name), OK, "{mode:?} {name}");
            // The handler can set the times of such a file.
            assert_eq!(act(&served, b'U', name), OK, "{mode:?} {name}");
            let found = fs::metadata(directories.path("in").join(name)).unwrap();
            assert_eq!(found.modified().unwrap(), SystemTime::UNIX_EPOCH, "{mode:?} {name}");
        }
        // Devices cannot be opened even in a granted directory.
        let served = serve(&[&["--dir", "/dev::/dev"], mode].concat());
        for what in *b"rW" {
            for device in ["null", "zero", "tty", "ptmx"] {
                assert_eq!(act(&served, what, device), NOT_PERMITTED, "{mode:?} {device}");
            }
        }
    }
}

#[test]
fn odd_paths_and_uses_are_errors() {
    let directories = Directories::new();
    let served = directories.serve("", &[]);
    assert_eq!(act(&served, b'r', &"a".repeat(256)), NAME_TOO_LONG);
    assert_eq!(act(&served, b'r', &"a/".repeat(3000)), NAME_TOO_LONG);
    assert_eq!(act(&served, b'r', ""), NO_ENTRY);
    assert_eq!(act(&served, b'W', "sub"), IS_DIRECTORY);
    assert_eq!(act(&served, b'L', "\0link"), NO_ENTRY);
}

#[test]
fn the_open_files_of_a_request_are_bounded() {
    let directories = Directories::new();
    let mut served = directories.serve(":ro", &[]);
    let line = failure(&mut served, b"Ffile");
    assert!(line.contains("blame=\"guest\" reason=\"handles\""), "{line}");
    assert_eq!(act(&served, b'r', "file"), b"kinside");
}

#[test]
fn a_directory_that_does_not_exist_is_an_error_at_the_start() {
    let directories = Directories::new();
    for (name, why) in [("missing", "No such file"), ("in/file", "not a directory")] {
        let dir = format!("{}::/data", directories.path(name).display());
        let said = crate::fixture::host().args(["serve", "--dir", &dir]).output().unwrap();
        assert_eq!(said.status.code(), Some(1));
        let said = String::from_utf8_lossy(&said.stderr);
        assert!(said.contains(why) && said.contains(name), "{said}");
    }
    let many: Vec<String> = (0..17).map(|n| format!("--dir=/tmp::/{n}")).collect();
    let said = crate::fixture::host().arg("serve").args(many).output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("is granted 17 directories, and may have 16"), "{said}");
}

/// The host opens the directory when it starts, and does not look its name up again.
#[test]
fn a_granted_directory_stays_the_same_when_it_is_renamed() {
    let directories = Directories::new();
    let served = directories.serve(":ro", &[]);
    fs::rename(directories.path("in"), directories.path("was")).unwrap();
    fs::rename(directories.path("out"), directories.path("in")).unwrap();
    assert_eq!(act(&served, b'r', "file"), b"kinside");
    assert_eq!(act(&served, b'r', "secret"), NO_ENTRY);
}
