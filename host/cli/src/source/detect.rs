//! The language of a file or a folder, and what belongs to the handler.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::report::printable_path;
use crate::values::language::Language;

/// The number of files of a folder that are looked at.
const MAX_FILES: usize = 10_000;

/// The languages, and the extensions of their files.
const EXTENSIONS: [(&str, Language); 12] = [
    ("rs", Language::Rust),
    ("c", Language::C),
    ("cpp", Language::Cpp),
    ("cc", Language::Cpp),
    ("cxx", Language::Cpp),
    ("go", Language::Go),
    ("js", Language::JavaScript),
    ("mjs", Language::JavaScript),
    ("ts", Language::TypeScript),
    ("mts", Language::TypeScript),
    ("zig", Language::Zig),
    ("py", Language::Python),
];

/// The files that tell the language of a folder.
const MANIFESTS: [(&str, Language); 4] = [
    ("Cargo.toml", Language::Rust),
    ("go.mod", Language::Go),
    ("package.json", Language::JavaScript),
    // Of Zig, and of C and C++: it says itself what is compiled.
    ("build.zig", Language::Zig),
];

/// The order in which the files of a folder without a manifest tell its language: a project may
/// have scripts.
const ORDER: [Language; 8] = [
    Language::Go,
    Language::Cpp,
    Language::C,
    Language::Zig,
    Language::Rust,
    Language::TypeScript,
    Language::JavaScript,
    Language::Python,
];

/// The number of files that are suggested as the handler.
const MAX_NAMES: usize = 5;

/// The names, without extensions, of the file of a folder that has the handler.
const MAIN: [&str; 4] = ["handler", "main", "index", "server"];

/// The source of a handler.
#[derive(Debug)]
pub struct Source {
    /// The language.
    pub language: Language,
    /// The name of the component.
    pub name: String,
    /// The file or the folder, as an absolute path without links.
    pub path: PathBuf,
    /// True if the path is a folder.
    pub is_folder: bool,
    /// The source files; of Rust and JavaScript, and of languages whose files import others, the
    /// main file. Empty for a crate, and for a folder with a `build.zig`.
    pub files: Vec<PathBuf>,
}

/// Returns true if the main file of a folder imports the others.
fn has_imports(language: Language) -> bool {
    !matches!(language, Language::C | Language::Cpp | Language::Go)
}

/// Returns the language of a file, by its extension.
fn language_of(path: &Path) -> Option<Language> {
    let extension = path.extension()?.to_str()?;
    // Declarations of types of TypeScript.
    if Path::new(path.file_stem()?).extension().is_some_and(|end| end == "d") {
        return None;
    }
    EXTENSIONS.iter().find(|(end, _)| *end == extension).map(|(_, language)| *language)
}

impl Source {
    /// Finds out what a path is. Returns `None` for a file that is no source.
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or has no handler in a language that is known.
    pub fn find(path: &Path) -> Result<Option<Source>> {
        let is_folder = path.is_dir();
        let Some(language) = language_of(path).or(is_folder.then_some(Language::C)) else {
            return Ok(None);
        };
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot read `{}`", printable_path(path)))?;
        let name = if is_folder { path.file_name() } else { path.file_stem() };
        let name =
            name.map_or_else(|| "handler".to_owned(), |name| name.to_string_lossy().into_owned());
        let (language, files) =
            if is_folder { in_folder(&path)? } else { (language, vec![path.clone()]) };
        Ok(Some(Source { language, name, path, is_folder, files }))
    }

    /// Returns the folder of the source.
    pub fn folder(&self) -> &Path {
        if self.is_folder { &self.path } else { self.path.parent().unwrap_or(&self.path) }
    }

    /// Returns the file with the handler.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn main(&self) -> Result<&Path> {
        self.files.first().map(PathBuf::as_path).context("it has no source file")
    }

    /// Returns the text of the source files.
    ///
    /// # Errors
    ///
    /// One cannot be read.
    pub fn text(&self) -> Result<String> {
        let mut text = String::new();
        for file in &self.files {
            let content = fs::read(file)
                .with_context(|| format!("cannot read `{}`", printable_path(file)))?;
            text.push_str(&String::from_utf8_lossy(&content));
            text.push('\n');
        }
        Ok(text)
    }
}

/// Returns true if a Python file is no handler on the contract, but a program that serves.
pub fn is_python_server(text: &str) -> bool {
    ![
        "socketserver_guest",
        "StreamRequest =",
        "DatagramRequest =",
        "class StreamRequest(",
        "class DatagramRequest(",
    ]
    .iter()
    .any(|name| text.contains(name))
}

/// Returns the language of a folder, and its files.
fn in_folder(folder: &Path) -> Result<(Language, Vec<PathBuf>)> {
    let files = files_of(folder)?;
    let manifest = |(name, _): &&(&str, Language)| folder.join(name).is_file();
    let manifest = MANIFESTS.iter().find(manifest).map(|(_, language)| *language);
    let has = |language: &Language| files.iter().any(|file| language_of(file) == Some(*language));
    // The manifest is the same.
    let is_typed = manifest == Some(Language::JavaScript) && has(&Language::TypeScript);
    let manifest = if is_typed { Some(Language::TypeScript) } else { manifest };
    let Some(language) = manifest.or_else(|| ORDER.into_iter().find(has)) else {
        let ends: Vec<_> = EXTENSIONS.iter().map(|(end, _)| format!(".{end}")).collect();
        let (folder, ends) = (printable_path(folder), ends.join(", "));
        bail!(
            "there is no source of a handler in `{folder}`: no Cargo.toml, go.mod, package.json, build.zig or file that ends in {ends}"
        );
    };
    if matches!(manifest, Some(Language::Rust | Language::Zig)) {
        return Ok((language, Vec::new()));
    }
    let mut files: Vec<_> = files
        .into_iter()
        .filter(|file| language_of(file) == Some(language))
        // Tests of Go, which its compiler leaves out.
        .filter(|file| !file.as_os_str().as_encoded_bytes().ends_with(b"_test.go"))
        .collect();
    if !has_imports(language) {
        return Ok((language, files));
    }
    if let Some(main) = main_of_package(folder, language)? {
        return Ok((language_of(&main).unwrap_or(language), vec![main]));
    }
    let is_named = |file: &PathBuf, name: &str| file.file_stem().is_some_and(|stem| stem == name);
    let named = MAIN.iter().find_map(|name| files.iter().position(|file| is_named(file, name)));
    match named {
        Some(place) => Ok((language, vec![files.swap_remove(place)])),
        None if files.len() == 1 => Ok((language, files)),
        None => {
            let below = files.iter().filter_map(|file| file.strip_prefix(folder).ok());
            let some: Vec<_> = below.take(MAX_NAMES).map(printable_path).collect();
            let (folder, files) = (printable_path(folder), some.join(" or "));
            bail!("`{folder}` has several files: name the one with the handler, {files}")
        }
    }
}

/// Returns the module that a `package.json` names.
fn main_of_package(folder: &Path, language: Language) -> Result<Option<PathBuf>> {
    let manifest = folder.join("package.json");
    if !matches!(language, Language::JavaScript | Language::TypeScript) || !manifest.is_file() {
        return Ok(None);
    }
    let read =
        || -> Result<serde_json::Value> { Ok(serde_json::from_slice(&fs::read(&manifest)?)?) };
    let manifest =
        read().with_context(|| format!("cannot read `{}`", printable_path(&manifest)))?;
    let Some(main) = manifest["main"].as_str() else { return Ok(None) };
    let main =
        folder.join(main).canonicalize().with_context(|| format!("package.json names `{main}`"))?;
    if !main.starts_with(folder) {
        bail!("package.json names a module outside of the project");
    }
    Ok(Some(main))
}

/// Returns the files in a folder and in its `src`, sorted.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in [folder.to_owned(), folder.join("src")] {
        if !folder.is_dir() {
            continue;
        }
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("cannot list `{}`", printable_path(&folder)))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_file() {
                files.push(path);
            }
            if files.len() > MAX_FILES {
                bail!("`{}` has more than {MAX_FILES} files", printable_path(&folder));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names and the contents of files.
    type Files<'a> = &'a [(&'a str, &'a str)];

    fn found(files: Files<'_>) -> Result<(Language, Vec<String>)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            super::super::files::write(&folder.path().join(name), content.as_bytes()).unwrap();
        }
        let source = Source::find(folder.path())?.unwrap();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok((source.language, source.files.iter().map(name).collect()))
    }

    #[test]
    fn the_files_of_a_folder_tell_its_language() {
        let package = ("package.json", r#"{"main": "lib/a.js"}"#);
        let typed = ("package.json", r#"{"main": "a.mts"}"#);
        let cases: [(Files<'_>, Language, &[&str]); 13] = [
            (&[("go.mod", ""), ("a.go", ""), ("a_test.go", "")], Language::Go, &["a.go"]),
            (&[("Cargo.toml", ""), ("src/lib.rs", ""), ("test.py", "")], Language::Rust, &[]),
            (&[package, ("lib/a.js", ""), ("test.mjs", "")], Language::JavaScript, &["a.js"]),
            (
                &[("package.json", "{}"), ("handler.js", ""), ("a.js", "")],
                Language::JavaScript,
                &["handler.js"],
            ),
            (
                &[("package.json", "{}"), ("main.ts", ""), ("test.js", "")],
                Language::TypeScript,
                &["main.ts"],
            ),
            (&[typed, ("a.mts", ""), ("main.js", "")], Language::TypeScript, &["a.mts"]),
            (
                &[("package.json", "{}"), ("main.js", ""), ("main.d.ts", "")],
                Language::JavaScript,
                &["main.js"],
            ),
            (&[("b.c", ""), ("src/a.c", ""), ("test.py", "")], Language::C, &["b.c", "a.c"]),
            (&[("a.cc", ""), ("b.c", "")], Language::Cpp, &["a.cc"]),
            (&[("main.zig", ""), ("other.zig", ""), ("test.py", "")], Language::Zig, &["main.zig"]),
            (&[("build.zig", ""), ("src/main.zig", ""), ("test.py", "")], Language::Zig, &[]),
            (&[("build.zig", ""), ("src/main.c", "")], Language::Zig, &[]),
            (&[("handler.py", ""), ("test.py", "")], Language::Python, &["handler.py"]),
        ];
        for (files, language, main) in cases {
            let (found, names) = found(files).unwrap();
            assert!(found == language && names == main, "{files:?}: {found:?} {names:?}");
        }
    }

    #[test]
    fn a_folder_without_a_handler_is_an_error_that_says_what_is_missing() {
        for (files, expected) in [
            (
                &[("README.md", "")][..],
                "no Cargo.toml, go.mod, package.json, build.zig or file that ends in .rs",
            ),
            (
                &[("a.py", ""), ("b.py", "")],
                "has several files: name the one with the handler, a.py or b.py",
            ),
            (&[("package.json", "{")], "package.json"),
            (&[("package.json", r#"{"main": "/etc/passwd"}"#)], "outside of the project"),
        ] {
            let error = format!("{:#}", found(files).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn other_files_are_no_source() {
        for name in ["upper.wasm", "upper.wat", "upper", "none"] {
            assert!(Source::find(Path::new(name)).unwrap().is_none(), "{name}");
        }
        assert!(Source::find(Path::new("none.c")).is_err());
    }
}
