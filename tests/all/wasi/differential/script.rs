//! Questions: short scripts of calls, which become functions of the handler `wasi.wat`.
//!
//! A script is a list of calls, separated by `; `. A call is the name of a function and its
//! arguments: `#0` is the granted directory, `#1` what the first call returned, `'a'` a string,
//! `1` a number, and `1L` a number of 64 bits.

#![allow(clippy::format_push_string, clippy::format_collect, reason = "each text is made once")]

use super::super::WASI;

/// The places of results in the memory of the handler.
const RESULT: usize = 1024;
const LENGTH: usize = 104;
/// The place of the handles that calls returned.
const HANDLES: usize = 4096;
/// The place of the strings.
const TEXTS: usize = 8192;

/// The kind of a result, with its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Unit,
    Handle,
    /// A handle that is returned as it is.
    Plain,
    Flags,
    Type,
    Stat,
    /// Bytes or text.
    Bytes,
    /// Bytes, with `true` at the end of the file.
    Read,
    Written,
    Entry,
    Hash,
    Same,
    /// The result of a stream.
    Stream,
    StreamBytes,
    StreamSpace,
    /// The error of a file that is behind the error of a stream.
    ErrorCode,
    /// `none`, or something.
    Optional,
    /// The length of a list.
    Count,
}

/// The functions: the interface and the name in WASI, the name in `wasi.wat`, the result.
pub const FUNCTIONS: &[(&str, &str, &str, Answer)] = &[
    ("filesystem/types", "open-at", "open_at", Answer::Handle),
    ("filesystem/types", "read-via-stream", "read_via_stream", Answer::Handle),
    ("filesystem/types", "write-via-stream", "write_via_stream", Answer::Handle),
    ("filesystem/types", "append-via-stream", "append", Answer::Handle),
    ("filesystem/types", "advise", "advise", Answer::Unit),
    ("filesystem/types", "sync-data", "sync_data", Answer::Unit),
    ("filesystem/types", "sync", "sync", Answer::Unit),
    ("filesystem/types", "get-flags", "get_flags", Answer::Flags),
    ("filesystem/types", "get-type", "get_type", Answer::Type),
    ("filesystem/types", "set-size", "set_size", Answer::Unit),
    ("filesystem/types", "set-times", "set_times", Answer::Unit),
    ("filesystem/types", "read", "read_file", Answer::Read),
    ("filesystem/types", "write", "write_file", Answer::Written),
    ("filesystem/types", "read-directory", "read_directory", Answer::Handle),
    ("filesystem/types", "read-directory-entry", "read_entry", Answer::Entry),
    ("filesystem/types", "create-directory-at", "mkdir", Answer::Unit),
    ("filesystem/types", "stat", "stat", Answer::Stat),
    ("filesystem/types", "stat-at", "stat_at", Answer::Stat),
    ("filesystem/types", "set-times-at", "set_times_at", Answer::Unit),
    ("filesystem/types", "link-at", "link", Answer::Unit),
    ("filesystem/types", "readlink-at", "readlink", Answer::Bytes),
    ("filesystem/types", "remove-directory-at", "rmdir", Answer::Unit),
    ("filesystem/types", "rename-at", "rename", Answer::Unit),
    ("filesystem/types", "symlink-at", "symlink", Answer::Unit),
    ("filesystem/types", "unlink-file-at", "unlink", Answer::Unit),
    ("filesystem/types", "is-same-object", "is_same", Answer::Same),
    ("filesystem/types", "metadata-hash", "metadata_hash", Answer::Hash),
    ("filesystem/types", "metadata-hash-at", "metadata_hash_at", Answer::Hash),
    ("filesystem/types", "filesystem-error-code", "error_code", Answer::ErrorCode),
    ("filesystem/preopens", "get-directories", "get_directories", Answer::Count),
    ("io/streams", "blocking-read", "read", Answer::StreamBytes),
    ("io/streams", "check-write", "check_write", Answer::StreamSpace),
    ("io/streams", "blocking-write-and-flush", "blocking_write", Answer::Stream),
    ("io/streams", "output-stream.write", "write", Answer::Stream),
    ("io/streams", "blocking-splice", "splice", Answer::StreamSpace),
    ("cli/stdin", "get-stdin", "get_stdin", Answer::Plain),
    ("cli/stdout", "get-stdout", "get_stdout", Answer::Plain),
    ("cli/stderr", "get-stderr", "get_stderr", Answer::Plain),
    ("cli/terminal-stdout", "get-terminal-stdout", "terminal", Answer::Optional),
    ("cli/environment", "get-environment", "get_environment", Answer::Count),
    ("cli/environment", "get-arguments", "get_arguments", Answer::Count),
    ("cli/environment", "initial-cwd", "initial_cwd", Answer::Optional),
    ("random/random", "get-random-bytes", "random", Answer::Count),
    ("random/insecure", "get-insecure-random-bytes", "insecure", Answer::Count),
];

const TYPES: [&str; 8] = [
    "unknown",
    "block-device",
    "character-device",
    "directory",
    "fifo",
    "symbolic-link",
    "regular-file",
    "socket",
];

const FLAGS: [&str; 6] = ["read", "write", "file-sync", "data-sync", "write-sync", "mutate"];

const ERRORS: [&str; 37] = [
    "access",
    "would-block",
    "already",
    "bad-descriptor",
    "busy",
    "deadlock",
    "quota",
    "exist",
    "file-too-large",
    "illegal-byte-sequence",
    "in-progress",
    "interrupted",
    "invalid",
    "io",
    "is-directory",
    "loop",
    "too-many-links",
    "message-size",
    "name-too-long",
    "no-device",
    "no-entry",
    "no-lock",
    "insufficient-memory",
    "insufficient-space",
    "not-directory",
    "not-empty",
    "not-recoverable",
    "unsupported",
    "no-tty",
    "no-such-device",
    "overflow",
    "not-permitted",
    "pipe",
    "read-only",
    "invalid-seek",
    "text-file-busy",
    "cross-device",
];

impl Answer {
    /// Returns the place of a list of bytes in the result.
    fn bytes(self) -> Option<usize> {
        match self {
            Answer::Bytes | Answer::Read | Answer::StreamBytes => Some(4),
            Answer::Entry => Some(12),
            _ => None,
        }
    }

    /// Returns the place of an error.
    fn error(self) -> usize {
        match self {
            Answer::Unit | Answer::Flags | Answer::Type => 1,
            Answer::Stat | Answer::Written | Answer::Hash | Answer::StreamSpace => 8,
            _ => 4,
        }
    }

    fn is_of_stream(self) -> bool {
        matches!(self, Answer::Stream | Answer::StreamBytes | Answer::StreamSpace)
    }

    /// Returns `true` if the first byte tells success from an error.
    fn may_fail(self) -> bool {
        !matches!(
            self,
            Answer::Plain | Answer::Same | Answer::ErrorCode | Answer::Optional | Answer::Count
        )
    }
}

/// Returns the words of a call.
pub fn words(call: &str) -> Vec<&str> {
    call.split(' ').collect()
}

fn function(call: &str) -> (&'static str, Answer) {
    let name = words(call)[0];
    let found = FUNCTIONS.iter().find(|(_, function, ..)| *function == name);
    let (_, _, wat, answer) = found.unwrap_or_else(|| panic!("no function {name}"));
    (wat, *answer)
}

/// Returns the text of a handler that answers a message of `!` and the number of a question.
pub fn component(questions: &[&str]) -> String {
    let mut fields = String::new();
    let mut free = TEXTS;
    for (number, question) in questions.iter().enumerate() {
        let calls: String = question
            .split("; ")
            .enumerate()
            .map(|(index, call)| code(index, call, &mut fields, &mut free))
            .collect();
        fields += &format!(
            "(func $question{number} (i32.store (i32.const {HANDLES}) (call $directory)) {calls})\n"
        );
    }
    let names: String = (0..questions.len()).map(|number| format!(" $question{number}")).collect();
    fields += &format!("(type $question (func)) (table funcref (elem{names}))");
    WASI.replace("{{fields}}", &fields)
        .replace("(call $act)", "(call_indirect (type $question) (i32.load8_u (global.get $text)))")
}

/// Returns the code that makes a call, and sends the result and the bytes in it.
fn code(index: usize, call: &str, fields: &mut String, free: &mut usize) -> String {
    let (name, answer) = function(call);
    let arguments: String = words(call)[1..]
        .iter()
        .map(|word| {
            if let Some(index) = word.strip_prefix('#') {
                let at = HANDLES + 4 * index.parse::<usize>().unwrap();
                format!(" (i32.load (i32.const {at}))")
            } else if let Some(text) = word.strip_prefix('\'') {
                let text = text.strip_suffix('\'').unwrap();
                let at = *free;
                *free += text.len();
                *fields += &format!("(data (i32.const {at}) \"{text}\")\n");
                format!(" (i32.const {at}) (i32.const {})", text.len())
            } else if let Some(number) = word.strip_suffix('L') {
                format!(" (i64.const {number})")
            } else {
                format!(" (i32.const {word})")
            }
        })
        .collect();
    let call = match answer {
        Answer::Plain => {
            format!("(i32.store (i32.const {}) (call ${name}{arguments}))", RESULT + 4)
        }
        Answer::Same => format!("(i32.store (i32.const {RESULT}) (call ${name}{arguments}))"),
        _ => format!("(call ${name}{arguments} (i32.const {RESULT}))"),
    };
    let handle = RESULT + if answer.is_of_stream() { answer.error() + 4 } else { 4 };
    let keep = HANDLES + 4 * (index + 1);
    let send = answer.bytes().map_or_else(String::new, |at| {
        let (at, length) = (RESULT + at, RESULT + at + 4);
        format!(
            "(if (i32.eqz (call $failed)) (then
              (call $send (i32.load (i32.const {at})) (i32.load (i32.const {length})))))"
        )
    });
    format!(
        "(memory.fill (i32.const {RESULT}) (i32.const 0) (i32.const {LENGTH}))
        {call}
        (i32.store (i32.const {keep}) (i32.load (i32.const {handle})))
        (call $send (i32.const {RESULT}) (i32.const {LENGTH}))
        {send}\n"
    )
}

/// Returns the answers to the calls of a question in words. The answer is `ended` if the handler
/// was ended before it.
pub fn spoken(question: &str, mut said: &[u8]) -> Vec<String> {
    let mut hashes = Vec::new();
    let mut speak = |call: &str| {
        let Some((result, rest)) = said.split_at_checked(LENGTH) else {
            return "ended".to_owned();
        };
        said = rest;
        let answer = function(call).1;
        let byte = |at: usize| usize::from(result[at]);
        let long = |at: usize| u64::from_le_bytes(result[at..at + 8].try_into().unwrap());
        if answer.may_fail() && byte(0) != 0 {
            return match (answer.is_of_stream(), byte(answer.error())) {
                (true, 0) => "failed".to_owned(),
                (true, _) => "closed".to_owned(),
                (false, error) => ERRORS[error].to_owned(),
            };
        }
        let bytes = answer.bytes().map_or(&[][..], |at| {
            let length = u32::from_le_bytes(result[at + 4..at + 8].try_into().unwrap());
            let (bytes, rest) = said.split_at(length as usize);
            said = rest;
            bytes
        });
        let bytes = bytes.escape_ascii();
        match answer {
            Answer::Unit | Answer::Stream => "ok".to_owned(),
            Answer::Handle | Answer::Plain => "handle".to_owned(),
            Answer::Flags => {
                let set = FLAGS.iter().enumerate().filter(|(bit, _)| byte(1) >> bit & 1 == 1);
                let set: Vec<&str> = set.map(|(_, flag)| *flag).collect();
                if set.is_empty() { "none".to_owned() } else { set.join(" ") }
            }
            Answer::Type => TYPES[byte(1)].to_owned(),
            Answer::Stat => {
                let times =
                    [32, 56, 80].map(|at| if byte(at) == 0 { "no" } else { time(long(at + 8)) });
                let (kind, times) = (TYPES[byte(8)], times.join(" "));
                // The size of a directory depends on the file system.
                if kind == "directory" {
                    format!("{kind}, times {times}")
                } else {
                    format!("{kind}, {} links, {} bytes, times {times}", long(16), long(24))
                }
            }
            Answer::Bytes | Answer::StreamBytes => format!("'{bytes}'"),
            Answer::Read => format!("'{bytes}'{}", if byte(12) == 0 { "" } else { " end" }),
            Answer::Written | Answer::StreamSpace => long(8).to_string(),
            Answer::Entry if byte(4) == 0 => "none".to_owned(),
            Answer::Entry => format!("{} '{bytes}'", TYPES[byte(8)]),
            Answer::Hash => {
                let hash = (long(8), long(16));
                let known = hashes.iter().position(|known| *known == hash);
                let index = known.unwrap_or_else(|| {
                    hashes.push(hash);
                    hashes.len() - 1
                });
                format!("hash {index}")
            }
            Answer::Same => (byte(0) == 1).to_string(),
            Answer::ErrorCode | Answer::Optional if byte(0) == 0 => "none".to_owned(),
            Answer::ErrorCode => ERRORS[byte(1)].to_owned(),
            Answer::Optional => "some".to_owned(),
            Answer::Count => u32::from_le_bytes(result[4..8].try_into().unwrap()).to_string(),
        }
    };
    question.split("; ").map(&mut speak).collect()
}

/// Returns a time in words.
fn time(seconds: u64) -> &'static str {
    match seconds {
        0 => "1970",
        1..1_000_000_000 => "past",
        _ => "now",
    }
}
