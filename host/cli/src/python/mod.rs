//! Python files: from a file that was written for CPython's `socketserver` to a component.
//!
//! | file | content |
//! |---|---|
//! | this one | a build, or its result from the cache |
//! | `program` | the servers that a file makes: their addresses, classes and attributes |
//! | `section` | the section of a component that has them |
//! | `support` | the modules of the guest that stand under CPython's |
//! | `tool` | componentize-py: where it is |
//! | `base` | CPython in a component, into which programs are loaded |
//! | `room` | the folder in which one build runs |
//! | `cache` | the components that were built before |

mod base;
mod cache;
mod program;
mod room;
mod section;
mod support;
mod tool;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use program::{Attributes, Kind, Program, ProgramServer};
pub use section::read_program;
pub use tool::find_or_install;

use base::Base;
use cache::{BuildCache, Key};
use room::Room;

use crate::report::printable_path;
use crate::work::{announce, cache_directory, create_private, output};

/// The build of a Python file.
#[derive(Debug, Clone)]
pub struct PythonBuild {
    /// The file.
    pub file: PathBuf,
    /// The arguments of the program, which it has in `sys.argv`.
    pub arguments: Vec<String>,
    /// The environment of the program.
    pub env: Vec<(String, String)>,
    /// Folders with packages, as in `PYTHONPATH`.
    pub packages: Vec<PathBuf>,
    /// True if the file is built even if nothing has changed since its last build.
    pub anew: bool,
}

/// A component that was built from a Python file.
#[derive(Debug)]
pub struct Built {
    /// The file of the component, which is named after the Python file.
    pub component: PathBuf,
    /// The servers that the Python file makes.
    pub program: Program,
}

impl PythonBuild {
    /// Builds the component, or takes it from the cache.
    ///
    /// # Errors
    ///
    /// The file cannot be read, the tool is missing and cannot be installed, or the file makes
    /// no server that can be served.
    pub fn build(&self) -> Result<Built> {
        self.build_it().with_context(|| format!("cannot build `{}`", printable_path(&self.file)))
    }

    fn build_it(&self) -> Result<Built> {
        let base = cache_directory()?;
        let key = Key::new(self)?;
        let cache = BuildCache::open(&base)?;
        if let Some(built) = cache.get(&key, self).filter(|_| !self.anew) {
            return Ok(built);
        }
        let cpython = Base::find_or_make(&base)?;
        let room = Room::create(&create_private(&base, "rooms")?, self)?;
        let name = printable_path(&self.file);
        let built = announce(&format!("building {name}"), |progress| room.run(&cpython, progress))?;
        for line in &built.report.output {
            output(&name, line);
        }
        cache.put(&key, self, built)
    }

    /// Returns the folder of the file.
    fn folder(&self) -> &Path {
        match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}
