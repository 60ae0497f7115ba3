//! The compilers of handlers: from source files in a language to a component.
//!
//! | file | content |
//! |---|---|
//! | `c` | C, C++ and Zig, with the compiler of Zig |
//! | `go` | Go |
//! | `javascript` | JavaScript and TypeScript, on `QuickJS` |
//! | `npm` | packages that these import |
//! | `python` | handlers in Python on the contract, with componentize-py |
//! | `python/immortal` | the objects of a component that CPython does not count |
//! | `component` | from a core module to a component |
//!
//! Nothing here installs or runs a program: a function returns a command, which the caller runs
//! in its own way. The folders of the SDKs are parameters, because `cargo guests` has them in the
//! repository and `wasm-socketserver build` in a cache.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod c;
pub mod component;
pub mod go;
pub mod javascript;
pub mod npm;
pub mod python;

/// A package of a registry, and the version with which handlers are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// The name.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
}

impl Package {
    /// Returns the name and the version, for the name of a folder.
    pub fn folder(self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}
