//! Errors before there is a request.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::world::World;

/// The error of an engine that cannot be created.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The engine refused its settings, or the machine refused the engine.
    #[error("cannot start the WebAssembly engine: {0}")]
    Engine(String),
}

/// The reason why a file cannot be served as a handler. It prints without its cause, which
/// is its [`source`](std::error::Error::source).
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read it")]
    Read(#[from] io::Error),
    /// The file is larger than a handler may be.
    #[error("it has {size} bytes, and a handler may have {limit}")]
    TooLarge {
        /// The size of the file.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The file is a pipe, a device or a socket, whose content could change or never end.
    #[error("it is not a regular file: copy it into one")]
    NotAFile,
    /// The file is neither a WebAssembly binary nor its text.
    #[error("it is not WebAssembly: it begins with neither `\\0asm` nor a text in parentheses")]
    NotWasm,
    /// The file is a core module, but no program.
    #[error(
        "it is a core WebAssembly module that exports no function `_start`: build a program for wasm32-wasip1, or a component for the world `{}`, `{}` or `{}`",
        World::Stream,
        World::Datagram,
        World::Command
    )]
    CoreModule,
    /// No component can be made of the core module.
    #[error("it is a core WebAssembly module of which no program can be made: {0}")]
    Module(String),
    /// The file is a compiled artifact. The host loads these from its private cache and from
    /// its own compiler only, because it cannot check them.
    #[error(
        "it is a precompiled artifact, which cannot be checked: name the component that it was compiled from"
    )]
    Precompiled,
    /// The file ends inside a section.
    #[error("it is cut off after {0} bytes: copy or build it again")]
    Truncated(usize),
    /// The text does not parse.
    #[error("it is not valid WebAssembly text: {0}")]
    Text(String),
    /// The binary does not validate, or uses features that the engine has not enabled.
    #[error("it is not a valid component: {0}")]
    Invalid(String),
    /// The component exports no interface of a handler.
    #[error(
        "it does not target `{}`, `{}` or `{}`: it exports {}, and none of `{}`, `{}` and `{}`",
        World::Stream,
        World::Datagram,
        World::Command,
        list(exports),
        World::Stream.interface(),
        World::Datagram.interface(),
        World::Command.interface()
    )]
    WrongWorld {
        /// Its exports.
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
    /// The component imports interfaces that the host does not provide.
    #[error(
        "it imports `{}`, which the host does not provide{}: no option adds it",
        imports[0],
        more_imports(imports)
    )]
    NotProvided {
        /// The imports, at least one.
        imports: Vec<String>,
    },
    /// The names of imports or exports are right, but their types are not.
    #[error("it was built against another version of the contract: {0}")]
    Incompatible(String),
    /// An instance begins with more memory than it may have.
    #[error(
        "it needs {} bytes of memory to begin with ({memory} in its memories, {tables} in its tables, {engine} kept by the engine), and may have {limit}: `--memory` allows more",
        memory.saturating_add(*tables).saturating_add(*engine)
    )]
    Memory {
        /// The bytes that its memories begin with.
        memory: u64,
        /// The bytes that its tables begin with.
        tables: u64,
        /// The bytes that the engine keeps beside them.
        engine: u64,
        /// The limit of the policy.
        limit: usize,
    },
    /// The engine would keep more for an instance than it may keep for any.
    #[error(
        "it makes the engine keep {needed} bytes for each instance beside memories and tables, {segments} of them for passive element segments, and the engine may keep {limit}: build it with fewer passive element segments, instances, globals, functions in tables or resources"
    )]
    EngineMemory {
        /// The bytes that the engine would keep.
        needed: u64,
        /// The bytes of them that are for passive element segments.
        segments: u64,
        /// The limit.
        limit: u64,
    },
    /// The policy grants more directories than a handler may have.
    #[error("it is granted {count} directories, and may have {limit}")]
    Dirs {
        /// The number of directories.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A directory that the policy grants cannot be opened.
    #[error("the directory `{}`, which is granted to it, cannot be opened", path.display())]
    Dir {
        /// The path of the directory.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// The preflight failed.
    #[error("it cannot be instantiated: {0}")]
    Instantiate(String),
    /// Compilation took more memory than it may.
    #[error(
        "compiling it takes more than {} MiB of memory: `--compile-memory` allows more",
        limit >> 20
    )]
    CompileMemory {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Compilation took more CPU time than it may.
    #[error("compiling it takes more than {limit:?} of CPU time: `--compile-time` allows more")]
    CompileTime {
        /// The limit.
        limit: Duration,
    },
    /// The compiler process took more wall time than it may, although it did not use up its
    /// CPU time.
    #[error(
        "compiling it takes longer than {limit:?}, ten times its CPU time: `--compile-time` allows more"
    )]
    CompileWallTime {
        /// The limit.
        limit: Duration,
    },
    /// Compilation needs more stack than the compiler has.
    #[error("it is nested too deeply to be compiled: build it with less nesting")]
    CompileStack,
    /// The compiler process failed for another reason.
    #[error("the compiler process {0}")]
    Compiler(String),
    /// The compiled component cannot be loaded.
    #[error("it cannot be compiled: {0}")]
    Compile(String),
}

/// The number of names that an error lists at most.
const MAX_LISTED: usize = 8;

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<_> = names.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn more_imports(imports: &[String]) -> String {
    match imports.len() - 1 {
        0 => String::new(),
        more => format!(" (nor {more} others)"),
    }
}

/// The reason why compiled components cannot be kept. It prints without its cause, which is
/// its [`source`](std::error::Error::source).
#[derive(Debug, Error)]
pub enum CacheError {
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("there is no cache directory: set XDG_CACHE_HOME or HOME")]
    NoDirectory,
    /// The directory or an entry cannot be created, read or written.
    #[error("cannot use the cache directory {path}")]
    Io {
        /// The path of the directory or the entry.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// Another user could write to the directory or to an entry.
    #[error(
        "the cache {path} is not private: {why}; remove it, or name another directory in XDG_CACHE_HOME"
    )]
    NotPrivate {
        /// The path of the directory or the entry.
        path: PathBuf,
        /// The reason: its owner, its mode or its type.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::policy::UnknownWord;

    fn cause() -> io::Error {
        io::Error::from(io::ErrorKind::NotFound)
    }

    /// Fails if an error prints the text of an error below it in its chain.
    fn check_chain(error: &dyn Error) {
        let mut texts = vec![error.to_string()];
        let mut next = error.source();
        while let Some(error) = next {
            let text = error.to_string();
            assert!(texts.iter().all(|above| !above.contains(&text)), "{texts:?}: {text}");
            texts.push(text);
            next = error.source();
        }
    }

    #[test]
    fn no_error_repeats_its_cause() {
        let path = || PathBuf::from("/nowhere");
        for error in [
            LoadError::Read(cause()),
            LoadError::Dir { path: path(), error: cause() },
            LoadError::Text("why".to_owned()),
            LoadError::Invalid("why".to_owned()),
            LoadError::Module("why".to_owned()),
            LoadError::Incompatible("why".to_owned()),
            LoadError::Instantiate("why".to_owned()),
            LoadError::Compiler("failed".to_owned()),
            LoadError::Compile("why".to_owned()),
        ] {
            check_chain(&error);
        }
        check_chain(&CacheError::Io { path: path(), error: cause() });
        check_chain(&CacheError::NotPrivate { path: path(), why: "why".to_owned() });
        check_chain(&CacheError::NoDirectory);
        check_chain(&EngineError::Engine("why".to_owned()));
        check_chain(&UnknownWord);
    }

    #[test]
    fn an_error_of_the_system_is_the_source() {
        for error in [
            Box::<dyn Error>::from(LoadError::Read(cause())),
            LoadError::Dir { path: "/nowhere".into(), error: cause() }.into(),
            CacheError::Io { path: "/nowhere".into(), error: cause() }.into(),
        ] {
            assert_eq!(error.source().unwrap().to_string(), cause().to_string());
        }
    }
}
