//! The languages of handlers.

/// A language of handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Rust: a crate, or a file.
    Rust,
    /// C: a file, or all files of a folder.
    C,
    /// C++: the same.
    Cpp,
    /// JavaScript: a module, and those that it imports.
    JavaScript,
    /// TypeScript: the same.
    TypeScript,
    /// Python: a program that serves, or a module with a handler on the contract.
    Python,
    /// Go: a module, or files.
    Go,
    /// Zig: a program.
    Zig,
}

impl Language {
    /// All languages, in the order in which they are listed.
    pub const ALL: [Language; 8] = [
        Language::Python,
        Language::JavaScript,
        Language::TypeScript,
        Language::Go,
        Language::Rust,
        Language::C,
        Language::Cpp,
        Language::Zig,
    ];

    /// Returns the word for the language on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::C => "c",
            Language::Cpp => "cpp",
            Language::JavaScript => "javascript",
            Language::TypeScript => "typescript",
            Language::Python => "python",
            Language::Go => "go",
            Language::Zig => "zig",
        }
    }

    /// Returns other words for the language.
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Language::Rust => &["rs"],
            Language::C | Language::Zig => &[],
            Language::Cpp => &["c++"],
            Language::Go => &["golang"],
            Language::JavaScript => &["js"],
            Language::TypeScript => &["ts"],
            Language::Python => &["py"],
        }
    }

    /// Returns the name of the language in a text.
    pub fn name(self) -> &'static str {
        match self {
            Language::Rust => "Rust",
            Language::C => "C",
            Language::Cpp => "C++",
            Language::JavaScript => "JavaScript",
            Language::TypeScript => "TypeScript",
            Language::Python => "Python",
            Language::Go => "Go",
            Language::Zig => "Zig",
        }
    }
}
