//! The questions, and the answers that differ.

/// Scripts of calls, each for a new handler with a new directory: see `script.rs`.
///
/// In `open-at` the first number is 1 to follow a link; the second is made of 1 to create,
/// 2 for a directory, 4 for exclusive and 8 to truncate; the third of 1 to read, 2 to write, 4,
/// 8 and 16 for kinds of synchronous writing, and 32 to change a directory.
pub const QUESTIONS: &[&str] = &[
    "get-environment; get-arguments; initial-cwd; get-directories; get-terminal-stdout",
    "get-stdin; blocking-read #1 10L; get-stdout; check-write #3; get-stderr; check-write #5",
    "get-stdout; blocking-write-and-flush #1 'line'; output-stream.write #1 'line'",
    "get-random-bytes 0L; get-random-bytes 100L; get-insecure-random-bytes 100L",
    // Opening.
    "open-at #0 1 'file' 0 1; get-flags #1; get-type #1; stat #1; read #1 10L 0L",
    "open-at #0 1 'file' 0 0; get-flags #1; read #1 10L 0L",
    "open-at #0 1 'file' 0 2; get-flags #1; read #1 10L 0L",
    "open-at #0 1 'file' 0 3; get-flags #1; write #1 'abc' 0L; read #1 10L 0L",
    "open-at #0 1 'file' 0 33; get-flags #1",
    "open-at #0 1 'file' 0 7; get-flags #1",
    "open-at #0 1 'file' 0 11; get-flags #1",
    "open-at #0 1 'file' 0 17; get-flags #1",
    "open-at #0 1 'new' 0 1",
    "open-at #0 1 'new' 1 1; get-flags #1; stat-at #0 1 'new'",
    "open-at #0 1 'new' 1 2; write #1 'abc' 0L; stat #1",
    "open-at #0 1 'file' 5 2",
    "open-at #0 1 'new' 5 3; get-flags #1",
    "open-at #0 1 'file' 4 1",
    "open-at #0 1 'file' 8 1; get-flags #1; stat #1",
    "open-at #0 1 'file' 8 2; stat #1",
    "open-at #0 1 'sub' 0 1; get-flags #1; get-type #1; open-at #1 1 'deep' 0 1; read #4 10L 0L",
    "open-at #0 1 'sub' 0 0; get-flags #1",
    "open-at #0 1 'sub' 2 1; get-flags #1; open-at #1 1 '../file' 0 1",
    "open-at #0 1 'sub' 2 33; get-flags #1; create-directory-at #1 'new'",
    "open-at #0 1 'sub' 2 1; create-directory-at #1 'new'",
    "open-at #0 1 'sub' 0 2",
    "open-at #0 1 'sub' 1 1",
    "open-at #0 1 'sub' 3 1",
    "open-at #0 1 'sub' 5 1",
    "open-at #0 1 'sub' 6 1",
    "open-at #0 1 'sub' 8 1",
    "open-at #0 1 'sub' 10 1",
    "open-at #0 1 'file' 2 1",
    "open-at #0 1 'file/' 0 1",
    "open-at #0 1 'file/x' 0 1",
    "open-at #0 1 'sub/' 0 1",
    "open-at #0 1 '.' 0 1; get-flags #1",
    "open-at #0 1 '' 0 1",
    "open-at #0 1 '..' 0 1",
    "open-at #0 1 '/' 0 1",
    "open-at #0 1 '/etc/passwd' 0 1",
    "open-at #0 1 '../out' 0 1",
    "open-at #0 1 'sub/../sub/./deep' 0 1",
    "open-at #0 1 'link' 0 1; stat #1",
    "open-at #0 0 'link' 0 1",
    "open-at #0 0 'link' 1 1",
    "open-at #0 0 'link' 2 1",
    "open-at #0 1 'away' 0 1",
    "open-at #0 0 'away' 0 1",
    "open-at #0 1 'self' 0 1",
    "open-at #0 1 'socket' 0 1",
    "open-at #0 1 'file' 0 1; open-at #1 1 'file' 0 1",
    // Files.
    "open-at #0 1 'file' 0 1; read #1 2L 0L; read #1 2L 5L; read #1 2L 6L; read #1 0L 0L",
    "open-at #0 1 'file' 0 1; read #1 2L -1L; read #1 -1L 0L",
    "open-at #0 1 'file' 0 1; write #1 'abc' 0L; set-size #1 1L; set-times #1 1 0L 0 1 0L 0",
    "open-at #0 1 'file' 0 2; write #1 'abc' 9L; write #1 '' 0L; stat #1; write #1 'a' -1L",
    "open-at #0 1 'file' 0 2; set-size #1 2L; stat #1; set-size #1 -1L; set-size #1 9L; stat #1",
    "open-at #0 1 'file' 0 2; set-times #1 2 0L 0 2 0L 0; stat #1",
    "open-at #0 1 'file' 0 2; set-times #1 2 1L 999999999 0 0L 0; stat #1; set-times #1 1 0L 0 1 0L 0",
    "open-at #0 1 'file' 0 2; set-times #1 2 1L 1000000000 0 0L 0; set-times #1 2 -1L 0 0 0L 0",
    "open-at #0 1 'file' 0 2; sync #1; sync-data #1; advise #1 0L 0L 0; advise #1 0L 10L 3",
    "open-at #0 1 'file' 0 1; sync #1; sync-data #1; advise #1 -1L -1L 5",
    "open-at #0 1 'file' 0 1; read-via-stream #1 2L; blocking-read #2 2L; blocking-read #2 9L; \
     blocking-read #2 9L; blocking-read #2 9L",
    "open-at #0 1 'file' 0 1; read-via-stream #1 9L; blocking-read #2 2L",
    "open-at #0 1 'file' 0 1; read-via-stream #1 -1L; blocking-read #2 2L; filesystem-error-code #3",
    "open-at #0 1 'file' 0 2; read-via-stream #1 0L; blocking-read #2 2L; filesystem-error-code #3",
    "open-at #0 1 'file' 0 1; write-via-stream #1 0L; blocking-write-and-flush #2 'a'; \
     filesystem-error-code #3",
    "open-at #0 1 'file' 0 1; append-via-stream #1; blocking-write-and-flush #2 'a'; \
     filesystem-error-code #3",
    "open-at #0 1 'file' 0 2; write-via-stream #1 1L; check-write #2; \
     blocking-write-and-flush #2 'ab'; blocking-write-and-flush #2 'c'; open-at #0 1 'file' 0 1; \
     read #6 9L 0L",
    "open-at #0 1 'file' 0 2; append-via-stream #1; check-write #2; \
     blocking-write-and-flush #2 'ab'; blocking-write-and-flush #2 'c'; open-at #0 1 'file' 0 1; \
     read #6 9L 0L",
    "open-at #0 1 'file' 0 2; write-via-stream #1 -1L; blocking-write-and-flush #2 'ab'; \
     filesystem-error-code #3; blocking-write-and-flush #2 'ab'; check-write #2",
    "open-at #0 1 'file' 0 1; read-via-stream #1 0L; get-stdout; blocking-splice #3 #2 4L; \
     blocking-splice #3 #2 4L; blocking-splice #3 #2 4L",
    // Directories, without a path.
    "get-flags #0; get-type #0; stat #0",
    "sync #0; sync-data #0; advise #0 0L 0L 0; set-size #0 0L",
    "read #0 1L 0L; write #0 'a' 0L",
    "read-via-stream #0 0L; write-via-stream #0 0L; append-via-stream #0",
    "set-times #0 2 0L 0 2 0L 0",
    "open-at #0 1 'sub' 2 1; read-directory #1; read-directory-entry #2; read-directory-entry #2; \
     read-directory-entry #2",
    "open-at #0 1 'empty' 2 1; read-directory #1; read-directory-entry #2",
    "open-at #0 1 'file' 0 1; read-directory #1",
    "is-same-object #0 #0; open-at #0 1 'file' 0 1; is-same-object #0 #2; open-at #0 1 'link' 0 1; \
     is-same-object #2 #4; open-at #0 1 '.' 0 1; is-same-object #0 #6",
    "metadata-hash #0; open-at #0 1 'file' 0 1; metadata-hash #2; metadata-hash-at #0 1 'link'; \
     metadata-hash-at #0 0 'link'; metadata-hash-at #0 1 '.'",
    "metadata-hash-at #0 1 'missing'; metadata-hash-at #0 1 '../out'; metadata-hash-at #0 1 'away'",
    // Paths.
    "stat-at #0 1 'file'; stat-at #0 1 'sub/deep'; stat-at #0 1 '.'; stat-at #0 1 ''",
    "stat-at #0 1 'link'; stat-at #0 0 'link'; stat-at #0 1 'self'; stat-at #0 0 'self'",
    "stat-at #0 1 'away'; stat-at #0 0 'away'; stat-at #0 1 '../out'; stat-at #0 1 '/etc'",
    "stat-at #0 1 'pipe'; stat-at #0 1 'socket'; stat-at #0 1 'old'; stat-at #0 1 'missing'",
    "stat-at #0 1 'file/'; stat-at #0 1 'file/x'; stat-at #0 1 'sub/..'; stat-at #0 1 'missing/..'",
    "open-at #0 1 'file' 0 1; stat-at #1 1 'file'; open-at #0 1 'old' 0 1; stat #3",
    "set-times-at #0 1 'file' 2 0L 0 2 0L 0; stat-at #0 1 'file'",
    "set-times-at #0 1 'file' 0 0L 0 2 7L 9; stat-at #0 1 'file'; set-times-at #0 1 'file' 1 0L 0 1 0L 0",
    "set-times-at #0 1 'file' 2 0L 1000000000 0 0L 0; set-times-at #0 1 'file' 0 0L 0 2 -1L 0",
    "set-times-at #0 1 'link' 2 0L 0 2 0L 0; stat-at #0 0 'link'; stat-at #0 1 'link'",
    "set-times-at #0 0 'link' 2 0L 0 2 0L 0; stat-at #0 0 'link'; stat-at #0 1 'link'",
    "set-times-at #0 1 'sub' 2 0L 0 2 0L 0; stat-at #0 1 'sub'",
    "set-times-at #0 1 'away' 2 0L 0 2 0L 0; set-times-at #0 1 'missing' 2 0L 0 2 0L 0",
    "set-times-at #0 0 'away' 2 0L 0 2 0L 0; set-times-at #0 1 '../out' 2 0L 0 2 0L 0",
    "set-times-at #0 1 'socket' 2 0L 0 2 0L 0; set-times-at #0 0 'pipe' 2 0L 0 2 0L 0",
    "create-directory-at #0 'new'; stat-at #0 1 'new'; create-directory-at #0 'new'",
    "create-directory-at #0 'file'; create-directory-at #0 'a/b'; create-directory-at #0 'file/a'",
    "create-directory-at #0 '../a'; create-directory-at #0 ''; create-directory-at #0 'new/'",
    "remove-directory-at #0 'empty'; remove-directory-at #0 'sub'; remove-directory-at #0 'file'",
    "remove-directory-at #0 'missing'; remove-directory-at #0 '.'; remove-directory-at #0 'sub/..'",
    "remove-directory-at #0 '..'; remove-directory-at #0 'link'; remove-directory-at #0 ''",
    "unlink-file-at #0 'file'; unlink-file-at #0 'link'; unlink-file-at #0 'pipe'; unlink-file-at #0 'away'",
    "unlink-file-at #0 'sub'; unlink-file-at #0 'missing'; unlink-file-at #0 '../out'; unlink-file-at #0 ''",
    "unlink-file-at #0 'file/'; unlink-file-at #0 'link/'; unlink-file-at #0 'file/x'",
    "rename-at #0 'file' #0 'new'; stat-at #0 1 'new'; stat-at #0 1 'file'",
    "rename-at #0 'file' #0 'sub/deep'; rename-at #0 'sub' #0 'empty'; rename-at #0 'empty' #0 'link'",
    "rename-at #0 'empty' #0 'sub'; rename-at #0 'sub' #0 'sub/in'; rename-at #0 'missing' #0 'a'",
    "rename-at #0 'file' #0 '../a'; rename-at #0 '../out' #0 'a'; rename-at #0 'link' #0 'file'",
    "open-at #0 1 'sub' 2 33; rename-at #0 'file' #1 'new'; rename-at #1 'new' #0 'file'",
    "open-at #0 1 'file' 0 1; rename-at #0 'file' #1 'new'; rename-at #1 'file' #0 'new'",
    "link-at #0 0 'file' #0 'new'; stat-at #0 1 'new'; link-at #0 1 'file' #0 'other'",
    "link-at #0 0 'link' #0 'new'; stat-at #0 0 'new'; link-at #0 0 'sub' #0 'dir'",
    "link-at #0 0 'missing' #0 'new'; link-at #0 0 'file' #0 'link'; link-at #0 0 '../out' #0 'a'",
    "link-at #0 0 'file' #0 '../a'; link-at #0 0 'away' #0 'a'; link-at #0 0 'file/' #0 'b'",
    "symlink-at #0 'file' 'new'; readlink-at #0 'new'; symlink-at #0 'file' 'link'",
    "symlink-at #0 '../out' 'new'; readlink-at #0 'new'; open-at #0 1 'new' 0 1",
    "symlink-at #0 '/etc' 'new'; symlink-at #0 '' 'new'; symlink-at #0 'file' ''",
    "symlink-at #0 'file' '../a'; symlink-at #0 'file' 'missing/a'; symlink-at #0 'file' 'new/'",
    "readlink-at #0 'link'; readlink-at #0 'file'; readlink-at #0 'missing'; readlink-at #0 'sub'",
    "readlink-at #0 'away'; readlink-at #0 '../out'; readlink-at #0 'self'; readlink-at #0 ''",
];

/// The answers that differ, each for a directory that is writable (`rw`) or not (`ro`): the calls,
/// the answer of `wasmtime-wasi`, and ours. The table in `ARCHITECTURE.md` has the reasons.
///
/// One more is not listed: where a directory is not writable, `wasmtime-wasi` answers
/// `not-permitted` to what would change something, and the host `read-only`.
pub const DIFFERENCES: &[(&str, &str)] = &[
    // A handle has the rights that were asked for, and tells them.
    ("rw", "open-at #0 1 '.' 0 1; get-flags #1: read, here read mutate"),
    ("rw", "open-at #0 1 'sub' 0 0; get-flags #1: read, here read mutate"),
    ("rw", "open-at #0 1 'sub' 0 1; get-flags #1: read, here read mutate"),
    ("rw", "open-at #0 1 'sub' 2 1; get-flags #1: read, here read mutate"),
    ("rw", "open-at #0 1 'sub' 2 33; get-flags #1: read, here read mutate"),
    ("ro", "open-at #0 1 'sub' 2 33: handle, here read-only"),
    ("ro", "open-at #0 1 'file' 0 33: handle, here read-only"),
    ("rw+ro", "open-at #0 1 'file' 0 0; get-flags #1: read, here none"),
    ("rw+ro", "open-at #0 1 'file' 0 0; read #1 10L 0L: 'inside', here bad-descriptor"),
    ("rw", "open-at #0 1 'file' 8 1; get-flags #1: read write, here read"),
    ("rw", "open-at #0 1 'new' 1 1; get-flags #1: read write, here read"),
    ("rw", "open-at #0 1 'file' 0 1; set-size #1 1L: invalid, here bad-descriptor"),
    ("ro", "open-at #0 1 'file' 0 1; set-size #1 1L: not-permitted, here bad-descriptor"),
    ("rw", "open-at #0 1 'file' 0 1; set-times #1 1 0L 0 1 0L 0: ok, here bad-descriptor"),
    (
        "ro",
        "open-at #0 1 'file' 0 1; set-times #1 1 0L 0 1 0L 0: not-permitted, here bad-descriptor",
    ),
    ("ro", "open-at #0 1 'file' 0 1; write #1 'abc' 0L: not-permitted, here bad-descriptor"),
    // The rights are checked when a stream is made.
    ("rw", "open-at #0 1 'file' 0 2; read-via-stream #1 0L: handle, here bad-descriptor"),
    ("rw", "open-at #0 1 'file' 0 1; write-via-stream #1 0L: handle, here bad-descriptor"),
    ("ro", "open-at #0 1 'file' 0 1; write-via-stream #1 0L: not-permitted, here bad-descriptor"),
    ("rw", "open-at #0 1 'file' 0 1; append-via-stream #1: handle, here bad-descriptor"),
    ("ro", "open-at #0 1 'file' 0 1; append-via-stream #1: not-permitted, here bad-descriptor"),
    // A directory in the place of a file.
    ("rw+ro", "read #0 1L 0L: bad-descriptor, here is-directory"),
    ("rw+ro", "write #0 'a' 0L: bad-descriptor, here is-directory"),
    ("rw+ro", "set-size #0 0L: bad-descriptor, here is-directory"),
    ("rw+ro", "write-via-stream #0 0L: bad-descriptor, here is-directory"),
    ("rw+ro", "append-via-stream #0: bad-descriptor, here is-directory"),
    // To ask for no bytes does not find the end of a file.
    ("rw+ro", "open-at #0 1 'file' 0 1; read #1 0L 0L: '' end, here ''"),
    // Only files and directories are opened, also to set times.
    ("rw+ro", "open-at #0 1 'socket' 0 1: io, here not-permitted"),
    ("rw", "set-times-at #0 1 'socket' 2 0L 0 2 0L 0: io, here ok"),
    // The granted directory is open with `O_PATH`.
    ("rw", "set-times #0 2 0L 0 2 0L 0: bad-descriptor, here ok"),
    // Times.
    ("rw", "open-at #0 1 'file' 0 2; set-times #1 2 1L 1000000000 0 0L 0: ok, here invalid"),
    ("rw", "set-times-at #0 1 'file' 2 0L 1000000000 0 0L 0: ok, here invalid"),
    ("ro", "set-times-at #0 1 'file' 2 0L 1000000000 0 0L 0: not-permitted, here invalid"),
    // The order of checks.
    ("ro", "link-at #0 1 'file' #0 'other': not-permitted, here invalid"),
    ("ro", "open-at #0 1 'file' 0 1; rename-at #1 'file' #0 'new': not-directory, here read-only"),
    // Facts about pipes.
    (
        "rw+ro",
        "stat-at #0 1 'pipe': unknown, 1 links, 0 bytes, times now now now, here fifo, 1 links, 0 bytes, times now now now",
    ),
    // Nothing is read ahead.
    ("rw+ro", "open-at #0 1 'file' 0 1; advise #1 -1L -1L 5: invalid, here ok"),
];
