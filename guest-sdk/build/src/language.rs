//! The languages.

use crate::guest::Guest;
use crate::tool::Log;
use crate::workspace::Workspace;
use crate::{c, javascript, python, rust};
use anyhow::Result;
use std::path::PathBuf;

/// A language that guests are written in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Rust, on `guest-sdk/rust`.
    Rust,
    /// C, on the bindings in `guest-sdk/c`.
    C,
    /// Python, on componentize-py.
    Python,
    /// JavaScript, on `QuickJS`.
    JavaScript,
}

impl Language {
    /// All of them, in the order in which they are built.
    pub const ALL: [Self; 4] = [Self::Rust, Self::C, Self::Python, Self::JavaScript];

    /// Its name on the command line and its folder in `target/guests/` and
    /// `guest-sdk/`.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Python => "python",
            Self::JavaScript => "javascript",
        }
    }

    /// What its files end in.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Rust => "rs",
            Self::C => "c",
            Self::Python => "py",
            Self::JavaScript => "js",
        }
    }

    /// How it is built, as text: when that changes, its guests are out of date.
    pub fn recipe(self) -> &'static str {
        match self {
            Self::Rust => rust::RECIPE,
            Self::C => c::RECIPE,
            Self::Python => python::RECIPE,
            Self::JavaScript => javascript::RECIPE,
        }
    }

    /// Files that every guest in it is built from, beside its own, its SDK and
    /// the contract.
    pub fn shared_inputs(self, workspace: &Workspace) -> Vec<PathBuf> {
        match self {
            Self::Rust => ["Cargo.toml", "Cargo.lock", "lib.rs"]
                .map(|file| workspace.guests().join(file))
                .into(),
            Self::C | Self::Python | Self::JavaScript => Vec::new(),
        }
    }

    /// Builds a guest and returns the component.
    pub fn build(self, workspace: &Workspace, guest: &Guest, log: &Log) -> Result<Vec<u8>> {
        match self {
            Self::Rust => rust::build(workspace, guest, log),
            Self::C => c::build(workspace, guest, log),
            Self::Python => python::build(workspace, guest, log),
            Self::JavaScript => javascript::build(workspace, guest, log),
        }
    }
}
