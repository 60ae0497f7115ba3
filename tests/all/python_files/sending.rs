//! Files that the handlers of unmodified files send: the kernel does, where it does in CPython.

use std::fs;

use super::{Both, TCP};

#[test]
fn the_kernel_sends_files_of_granted_directories_as_in_cpython() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"abcdefghij").unwrap();
    let grant = format!("{0}::{0}", folder.path().display());
    for mode in ["threading", "forking"] {
        let options = [TCP[0], TCP[1], "--dir", &grant, "--connect", "unix:///nowhere"];
        let both = Both::start("sends.py", &[&options[..], &["--concurrency", mode]].concat());
        for (name, expected) in [
            // Files that fail when they are read.
            ("whole", "abcdefghij 10 10"),
            ("part", "defg 4 7"),
            ("end", "ij 2 10"),
            ("beyond", " 0 0"),
            ("relative", "abcdefghij 10 10"),
            ("dotted", "abcdefghij 10 10"),
            ("typed", "abcdefghij 10 10"),
            ("encoded", "abcdefghij 10 10"),
            ("empty", " 0 0"),
            ("twice", "abcdefghijj 10 1"),
            // Files whose names do not lead to them.
            ("moved", "the first 9 9"),
            ("removed", "still here 10 10"),
            ("numbered", "abcdefghij 10 10"),
            ("renamed", "abcdefghij 10 10"),
            ("memory", "memory 6 9"),
            ("text", " ValueError None"),
            ("write_only", " UnsupportedOperation None"),
            ("nothing", " ValueError None"),
            ("more_than_there_is", "abcdefghij 10 10"),
            ("before", " OSError EINVAL"),
            ("closed", " ValueError None"),
            ("unblocked", " ValueError None"),
            ("pair", " 3 b'cde' 5"),
            ("slow", " timed out True"),
            ("datagrams", " ValueError None"),
        ] {
            let answer = both.answer(format!("{name} {}\n", path.display()).as_bytes());
            assert_eq!(answer, expected, "{name} {mode}");
        }
    }
}
