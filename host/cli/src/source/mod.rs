//! Source files and projects: from a handler in any language to a component.
//!
//! | file | content |
//! |---|---|
//! | this one | a build: its folder, its progress and its result |
//! | `detect` | the language of a file or a folder, and what belongs to the handler |
//! | `kept` | the component that was last built from a source |
//! | `files` | the files that the program contains |
//! | `sdk` | the SDKs among them |
//! | `rust` | Rust, with Cargo |
//! | `zig` | C, C++ and Zig |
//! | `go`, `javascript`, `python` | these languages, and TypeScript |
//! | `npm` | the packages that JavaScript imports |
//! | `template` | new projects, from the templates that the program contains |

mod detect;
mod files;
mod go;
mod javascript;
mod kept;
mod npm;
mod python;
mod rust;
mod sdk;
mod template;
mod zig;

use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

pub use detect::{Source, is_python_server};
pub use template::{Template, list};

use crate::report::printable_path;
use crate::values::language::Language;
use crate::work::{announce, cache_directory, create_private, prune};

/// The number of builds whose results are kept. The oldest are removed first.
const MAX_BUILDS: usize = 30;

/// The folders of one build.
struct Room<'a> {
    /// The cache directory.
    base: &'a Path,
    /// The SDKs.
    sdk: PathBuf,
    /// The folder of this build, which the next build of the same source has, too.
    folder: PathBuf,
}

impl Source {
    /// Builds the component, and returns its file, which stands in the cache directory. If nothing
    /// has changed since it was last built, it is not built again, unless it has to be built
    /// `anew`.
    ///
    /// # Errors
    ///
    /// A tool is missing and cannot be installed, or fails. The error has the tool's output.
    pub fn build(&self, anew: bool) -> Result<PathBuf> {
        self.build_it(anew)
            .with_context(|| format!("cannot build `{}`", printable_path(&self.path)))
    }

    fn build_it(&self, anew: bool) -> Result<PathBuf> {
        let base = &cache_directory()?;
        let builds = create_private(base, "builds")?;
        let key = Sha256::new_with_prefix(self.path.as_os_str().as_encoded_bytes());
        let folder = create_private(&builds, &short_hex(key))?;
        // Of two builds of the same source, one waits for the other.
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        let room = Room { base, sdk: sdk::unpack(base)?, folder };
        let output = room.folder.join(&self.name).with_added_extension("wasm");
        // The other compilers find out themselves what has changed, wherever it is.
        let copied = match self.language {
            Language::JavaScript | Language::TypeScript => Some(javascript::copy(self, &room)?),
            Language::Python => Some(python::copy(self, &room)?),
            Language::Zig if !self.files.is_empty() => Some(zig::copy(self, &room)?),
            Language::Zig | Language::Rust | Language::C | Language::Cpp | Language::Go => None,
        };
        if !anew && copied.as_ref().is_some_and(|copied| copied.is_source_of(&room, &output)) {
            return Ok(output);
        }
        let work = match (self.language, &copied) {
            (Language::Rust, _) => rust::prepare(self, &room)?,
            (Language::Go, _) => go::prepare(self, &room)?,
            (Language::JavaScript | Language::TypeScript, Some(copied)) => {
                javascript::prepare(self, copied, &room)?
            }
            (Language::Python, Some(copied)) => python::prepare(copied, &room)?,
            (Language::Zig, Some(copied)) => zig::prepare_zig(copied, &room)?,
            (Language::Zig, None) => zig::prepare_project(self, &room)?,
            _ => zig::prepare(self, &room)?,
        };
        let what = format!("building {} ({})", printable_path(&self.path), self.language.name());
        let component = announce(&what, work)?;
        let new = output.with_added_extension("new");
        fs::write(&new, &component)
            .and_then(|()| fs::rename(&new, &output))
            .with_context(|| format!("cannot write `{}`", printable_path(&output)))?;
        if let Some(copied) = &copied {
            copied.note(&room, &component)?;
        }
        prune(&builds, MAX_BUILDS);
        Ok(output)
    }
}

/// The part of a build that runs the compiler, after its tools were found.
type Work<'a> = Box<dyn FnOnce(&mut crate::work::Progress) -> Result<Vec<u8>> + 'a>;

/// Returns the first eight bytes of a digest, as text.
fn short_hex(digest: Sha256) -> String {
    let mut text = hex(digest);
    text.truncate(16);
    text
}

/// Returns a digest, as text.
fn hex(digest: Sha256) -> String {
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
