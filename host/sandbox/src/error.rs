//! What can go wrong before there is a request.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::world::World;

/// Why there is no engine.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The engine refused its settings, or the machine refused the engine.
    #[error("cannot start the WebAssembly engine: {0}")]
    Engine(String),
}

/// Why a file cannot be served as a handler. It prints without its cause, which is its
/// [`source`](std::error::Error::source).
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read it")]
    Read(#[from] io::Error),
    /// The file is larger than any handler may be.
    #[error("it has {size} bytes; a handler has {limit} at the most")]
    TooLarge {
        /// The size of the file.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A pipe, a device or a socket: what it is could change, or never end.
    #[error("it is not a regular file: copy it into one")]
    NotAFile,
    /// Neither a WebAssembly binary nor its text.
    #[error("it is not WebAssembly: it begins with neither `\\0asm` nor a text in parentheses")]
    NotWasm,
    /// A module, not a component.
    #[error(
        "it is a core WebAssembly module, not a component: build it for the world `{}` or `{}`, or wrap it with a tool such as `wasm-tools component new`",
        World::Stream,
        World::Datagram
    )]
    CoreModule,
    /// A compiled artifact. Those are loaded from the private cache and from our own
    /// compiler only, because nothing in one can be checked.
    #[error(
        "it is a precompiled artifact, which could do anything: give the component that it was made from"
    )]
    Precompiled,
    /// It ends in the middle.
    #[error("it is cut off after {0} bytes: copy or build it again")]
    Truncated(usize),
    /// The text form does not parse.
    #[error("it is not valid WebAssembly text: {0}")]
    Text(String),
    /// The binary form does not validate, or uses what is switched off.
    #[error("it is not a valid component: {0}")]
    Invalid(String),
    /// It does not export what a handler exports.
    #[error(
        "it does not target `{}` or `{}`: it exports {}, neither `{}` nor `{}`",
        World::Stream,
        World::Datagram,
        list(exports),
        World::Stream.interface(),
        World::Datagram.interface()
    )]
    WrongWorld {
        /// What is there instead.
        exports: Vec<String>,
    },
    /// The exported interface lacks a function.
    #[error("its export `{interface}` has no function `{function}`")]
    MissingExport {
        /// The interface.
        interface: &'static str,
        /// The function.
        function: &'static str,
    },
    /// It imports something that no handler is given.
    #[error(
        "it imports `{}`, which is not granted to it{}: no option grants it",
        imports[0],
        others(imports)
    )]
    NotGranted {
        /// The imports, at least one.
        imports: Vec<String>,
    },
    /// The names are right, the types are not.
    #[error("it was built against another version of the contract: {0}")]
    Incompatible(String),
    /// It needs more memory to begin with than it may have.
    #[error(
        "it needs {} bytes of memory to begin with ({memory} in its memories, {tables} in its tables, {engine} kept by the engine), and may have {limit}: `--memory` allows more",
        memory.saturating_add(*tables).saturating_add(*engine)
    )]
    Memory {
        /// Bytes that its memories begin with.
        memory: u64,
        /// Bytes that its tables begin with.
        tables: u64,
        /// Bytes that the engine keeps beside them.
        engine: u64,
        /// What the policy allows.
        limit: usize,
    },
    /// The engine would keep more for an instance than for any.
    #[error(
        "it would have the engine keep {needed} bytes for each instance beside memories and tables, {segments} of them for passive element segments, and {limit} are the most: build it with fewer passive element segments, instances, globals, functions in tables or resources"
    )]
    EngineMemory {
        /// What there would be.
        needed: u64,
        /// How much of it is for passive element segments.
        segments: u64,
        /// The limit.
        limit: u64,
    },
    /// It is granted more directories than it could hold.
    #[error("it is granted {count} directories, and {limit} are the most")]
    Dirs {
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A directory that is granted to it cannot be opened.
    #[error("the directory `{}`, which is granted to it, cannot be opened", path.display())]
    Dir {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The trial instance failed.
    #[error("it cannot be instantiated: {0}")]
    Instantiate(String),
    /// Compiling took more memory than it may.
    #[error(
        "compiling it takes more than {} MiB of memory: `--compile-memory` allows more",
        limit >> 20
    )]
    CompileMemory {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Compiling took more CPU time than it may.
    #[error("compiling it takes more than {limit:?} of CPU time: `--compile-time` allows more")]
    CompileTime {
        /// The limit.
        limit: Duration,
    },
    /// The process that compiles was not done in time, although it did not use up
    /// its CPU time.
    #[error(
        "compiling it takes longer than {limit:?}, ten times its CPU time: `--compile-time` allows more"
    )]
    CompileWallTime {
        /// The limit.
        limit: Duration,
    },
    /// Compiling took more stack than there is.
    #[error("it is nested too deeply to be compiled: build it with less nesting")]
    CompileStack,
    /// The process that compiles failed for another reason.
    #[error("the process that compiles it {0}")]
    Compiler(String),
    /// Compiling failed.
    #[error("it cannot be compiled: {0}")]
    Compile(String),
}

/// How many names a sentence has at the most.
const LISTED: usize = 8;

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<_> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn others(imports: &[String]) -> String {
    match imports.len() - 1 {
        0 => String::new(),
        more => format!(" (nor are {more} others)"),
    }
}

/// Why compiled components cannot be kept. It prints without its cause, which is its
/// [`source`](std::error::Error::source).
#[derive(Debug, Error)]
pub enum CacheError {
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("there is no cache directory: set XDG_CACHE_HOME or HOME")]
    NoDirectory,
    /// The directory cannot be made or read.
    #[error("cannot use the cache directory {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Somebody else could write to it.
    #[error(
        "the cache {path} is not private: {why}; remove it, or name another directory in XDG_CACHE_HOME"
    )]
    NotPrivate {
        /// What.
        path: PathBuf,
        /// Whose it is, or what its mode is.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn an_error_prints_without_its_cause() {
        let why = || io::Error::from(io::ErrorKind::NotFound);
        let errors: [Box<dyn Error>; 3] = [
            LoadError::Read(why()).into(),
            LoadError::Dir { path: "/nowhere".into(), error: why() }.into(),
            CacheError::Io { path: "/nowhere".into(), error: why() }.into(),
        ];
        for error in errors {
            let cause = error.source().unwrap().to_string();
            assert_eq!(cause, why().to_string());
            assert!(!error.to_string().contains(&cause), "{error}");
        }
    }
}
