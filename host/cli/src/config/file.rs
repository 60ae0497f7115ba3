//! One file of a configuration: its text, and places in it.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::report::printable_path;

/// The longest file, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// A file of a configuration.
pub struct File {
    path: PathBuf,
    pub text: String,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    file: PathBuf,
    line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", printable_path(&self.file), self.line, self.column)
    }
}

/// A mistake in a configuration.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub place: Place,
    pub message: String,
}

/// All mistakes in a configuration.
#[derive(Debug)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Returns the mistakes in the order of their places.
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        Problems(problems)
    }
}

/// A line for each mistake.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { place, message }) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { "\n" };
            write!(f, "{before}{place}: {}", message.trim_end())?;
        }
        Ok(())
    }
}

impl Error for Problems {}

impl File {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<File, Problem> {
        let failed = |message: String| Problem {
            place: Place { file: path.to_owned(), line: 1, column: 1 },
            message,
        };
        let read = || {
            let mut bytes = Vec::new();
            fs::File::open(path)?.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
            std::io::Result::Ok(bytes)
        };
        let bytes = read().map_err(|error| failed(format!("cannot read the file: {error}")))?;
        if bytes.len() as u64 > MAX_SIZE {
            return Err(failed(format!("the file is longer than {} KiB", MAX_SIZE >> 10)));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(File { path: path.to_owned(), text }),
            Err(_) => Err(failed("the file is not UTF-8".to_owned())),
        }
    }

    /// Returns the folder of the file.
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// Returns the beginning of the file.
    pub fn start(&self) -> Place {
        self.place(0)
    }

    /// Returns the place of the byte with this index.
    pub fn place(&self, index: usize) -> Place {
        let before = self.text.get(..index).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Place {
            file: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }
}
