//! The languages of guests.

use crate::guest::Guest;
use crate::tool::Log;
use crate::workspace::Workspace;
use crate::{c, cpp, go, javascript, python, rust};
use anyhow::{Result, bail};
use std::path::PathBuf;

/// A language for guests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Rust, on the crate in `guest-sdk/rust`.
    Rust,
    /// C, on the bindings in `guest-sdk/c`.
    C,
    /// C++, on the same bindings and the header in `guest-sdk/cpp`.
    Cpp,
    /// Go, on the package in `guest-sdk/go`.
    Go,
    /// Python, on componentize-py.
    Python,
    /// JavaScript, on `QuickJS`.
    JavaScript,
    /// TypeScript, on the SDK for JavaScript.
    TypeScript,
    /// Zig, for programs only: it has no SDK.
    Zig,
}

impl Language {
    /// All languages with an SDK, in the order in which their guests are built.
    pub const ALL: [Self; 7] = [
        Self::Rust,
        Self::C,
        Self::Cpp,
        Self::Go,
        Self::Python,
        Self::JavaScript,
        Self::TypeScript,
    ];

    /// Returns the name on the command line, which is also the name of the folder in
    /// `target/guests/`.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Go => "go",
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::Zig => "zig",
        }
    }

    /// Returns the name of the folder in `guest-sdk/`.
    pub fn sdk(self) -> &'static str {
        if self == Self::TypeScript { Self::JavaScript.folder() } else { self.folder() }
    }

    /// Returns the extension of source files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Rust => "rs",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Go => "go",
            Self::Python => "py",
            Self::JavaScript => "js",
            Self::TypeScript => "ts",
            Self::Zig => "zig",
        }
    }

    /// Returns the source code that builds guests. A change of it makes all guests of the
    /// language out of date.
    pub fn recipe(self) -> &'static str {
        match self {
            Self::Rust => rust::RECIPE,
            // Zig's compiler is that of C.
            Self::C | Self::Zig => c::RECIPE,
            Self::Cpp => cpp::RECIPE,
            Self::Go => go::RECIPE,
            Self::Python => python::RECIPE,
            Self::JavaScript | Self::TypeScript => javascript::RECIPE,
        }
    }

    /// Returns true if the language's library may import WASI: C's library does if the
    /// guest needs it, the others always do. The samples in Rust have no such library.
    pub fn may_use_wasi(self) -> bool {
        self != Self::Rust
    }

    /// Returns true if the tool of the language has a WASI of its own, and does not use the
    /// adapter for WASI's first preview.
    pub fn has_own_wasi(self) -> bool {
        matches!(self, Self::Python | Self::JavaScript | Self::TypeScript)
    }

    /// Returns the files that every guest of the language is built from, besides its own
    /// files, its SDK and the contract.
    pub fn shared_inputs(self, workspace: &Workspace) -> Vec<PathBuf> {
        match self {
            Self::Rust => ["Cargo.toml", "Cargo.lock", "lib.rs"]
                .map(|file| workspace.guests().join(file))
                .into(),
            Self::Cpp => c::shared_with_cpp(workspace),
            Self::C | Self::Go | Self::Python | Self::JavaScript | Self::TypeScript | Self::Zig => {
                Vec::new()
            }
        }
    }

    /// Builds a guest and returns the component.
    pub fn build(self, workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
        match self {
            Self::Rust => rust::build(workspace, guest, log),
            Self::C => c::build(workspace, guest, log),
            Self::Cpp => cpp::build(workspace, guest, log),
            Self::Go => go::build(workspace, guest, log),
            Self::Python => python::build(workspace, guest, log),
            Self::JavaScript | Self::TypeScript => javascript::build(workspace, guest, log),
            Self::Zig => bail!("there is no SDK for Zig, so it has programs only"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the quoted strings in a text, between two markers.
    fn quoted(text: &str, start: &str, end: &str) -> Vec<String> {
        let (_, text) = text.split_once(start).unwrap();
        let (text, _) = text.split_once(end).unwrap();
        text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn socket_errors_have_the_same_texts_in_every_sdk() {
        let read = |path: &str| {
            let workspace = Workspace::find().unwrap();
            std::fs::read_to_string(workspace.sdk(path)).unwrap()
        };
        let rust = quoted(&read("rust/src/error.rs"), "\nerrors! {", "\n}\n");
        assert_eq!(rust.len(), 30);
        assert_eq!(quoted(&read("c/socketserver.h"), "ss_errors[] = {", "\n};"), rust);
        assert_eq!(quoted(&read("cpp/socketserver.hpp"), "to_array", ");"), rust);
        assert_eq!(quoted(&read("go/error.go"), "var texts", "\n}\n"), rust);
        assert_eq!(quoted(&read("python/socketserver_guest.py"), "_ERRORS = (", "\n)\n"), rust);
    }
}
