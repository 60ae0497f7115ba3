//! The guests, and which of them to build.

use crate::language::Language;
use crate::program;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// A handler in a language.
pub struct Guest {
    /// The language.
    pub language: Language,
    /// The name, which is the same in every language.
    pub name: String,
    /// The source file.
    pub source: PathBuf,
    /// True if the other files in the folder of `source` belong to the guest: in
    /// `guests/NAME/`, but not in `tests/guests/`, where each file is a guest.
    pub owns_folder: bool,
    /// The folder of the guest's own crate, `tests/guests/NAME/`, if it has one.
    pub package: Option<PathBuf>,
    /// True for a guest in Rust that is built for WASI, and so has clocks and files: a crate of
    /// its own, or one that `guests/Cargo.toml` lists.
    pub is_for_wasi: bool,
    /// True for a program, which has no SDK and does not target the contract.
    pub is_program: bool,
}

impl Guest {
    /// Returns `LANGUAGE/NAME`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.language.folder(), self.name)
    }

    /// Returns true if the guest may import WASI.
    pub fn may_use_wasi(&self) -> bool {
        self.language.may_use_wasi() || self.is_for_wasi
    }
}

/// Returns the names of the guests in Rust that are built for WASI: the list `wasip2` in
/// `guests/Cargo.toml`.
fn samples_for_wasi(workspace: &Workspace) -> Result<Vec<String>> {
    let manifest = workspace.guests().join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let list = text.split_once("\nwasip2 = [").and_then(|(_, list)| list.split_once(']'));
    let (list, _) = list.context("guests/Cargo.toml has no list `wasip2`")?;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Finds all guests, in the order of languages: `guests/NAME/NAME.EXT`,
/// `tests/guests/NAME.EXT` and, in Rust, `tests/guests/NAME/Cargo.toml`. Programs are the same in
/// `tests/programs/`; one in Rust can be built as a core module, too.
pub fn discover(workspace: &Workspace) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    let for_wasi = samples_for_wasi(workspace)?;
    for language in Language::ALL.into_iter().chain([Language::Zig]) {
        for folder in entries(&workspace.guests())? {
            let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { continue };
            let source = folder.join(name).with_extension(language.extension());
            if source.is_file() {
                let name = name.to_owned();
                guests.push(Guest {
                    language,
                    is_for_wasi: language == Language::Rust && for_wasi.contains(&name),
                    name,
                    source,
                    owns_folder: true,
                    package: None,
                    is_program: false,
                });
            }
        }
        let handlers = entries(&workspace.test_guests())?.into_iter().map(|path| (path, false));
        let programs = entries(&workspace.programs())?.into_iter().map(|path| (path, true));
        for (source, is_program) in handlers.chain(programs) {
            let extension = source.extension().and_then(|extension| extension.to_str());
            let Some(name) = source.file_stem().and_then(|name| name.to_str()) else { continue };
            let name = name.to_owned();
            if extension == Some(language.extension()) {
                let is_for_wasi = language == Language::Rust && for_wasi.contains(&name);
                guests.push(Guest {
                    language,
                    name,
                    source,
                    owns_folder: false,
                    package: None,
                    is_for_wasi,
                    is_program,
                });
            } else if language == Language::Rust && source.join("Cargo.toml").is_file() {
                let file = if is_program { "src/main.rs" } else { "src/lib.rs" };
                let mut names = vec![name.clone()];
                if is_program && program::is_also_module(&source)? {
                    names.push(format!("{name}{}", program::MODULE));
                }
                guests.extend(names.into_iter().map(|name| Guest {
                    language,
                    name,
                    source: source.join(file),
                    owns_folder: false,
                    package: Some(source.clone()),
                    is_for_wasi: true,
                    is_program,
                }));
            }
        }
    }
    Ok(guests)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read =
        || -> std::io::Result<_> { fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect() };
    let mut paths: Vec<PathBuf> =
        read().with_context(|| format!("cannot list {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

/// Returns the guests that `names` select, or all guests if `names` is empty. A name is a
/// language or `LANGUAGE/NAME`.
///
/// # Errors
///
/// Returns an error with all labels if a name selects no guest.
pub fn select(guests: Vec<Guest>, names: &[String]) -> Result<Vec<Guest>> {
    let is_named =
        |guest: &Guest, name: &str| guest.label() == name || guest.language.folder() == name;
    for name in names {
        if !guests.iter().any(|guest| is_named(guest, name)) {
            let labels: Vec<_> = guests.iter().map(Guest::label).collect();
            bail!("there is no guest or language `{name}`; the guests are {}", labels.join(", "));
        }
    }
    let mut selected = guests;
    if !names.is_empty() {
        selected.retain(|guest| names.iter().any(|name| is_named(guest, name)));
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests() -> Vec<Guest> {
        [(Language::Rust, "upper"), (Language::Rust, "echo"), (Language::C, "upper")]
            .map(|(language, name)| Guest {
                language,
                name: name.to_owned(),
                source: PathBuf::new(),
                owns_folder: true,
                package: None,
                is_for_wasi: false,
                is_program: false,
            })
            .into()
    }

    fn selected(names: &[&str]) -> Result<Vec<String>> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        Ok(select(guests(), &names)?.iter().map(Guest::label).collect())
    }

    #[test]
    fn a_name_selects_a_language_or_one_guest() {
        assert_eq!(selected(&[]).unwrap(), ["rust/upper", "rust/echo", "c/upper"]);
        assert_eq!(selected(&["rust"]).unwrap(), ["rust/upper", "rust/echo"]);
        assert_eq!(selected(&["c", "rust/echo"]).unwrap(), ["rust/echo", "c/upper"]);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_guests() {
        let error = selected(&["rust/uper"]).unwrap_err().to_string();
        assert!(error.contains("`rust/uper`") && error.contains("rust/upper"), "{error}");
    }

    #[test]
    fn the_samples_and_the_handlers_for_tests_are_found() {
        let workspace = Workspace::find().unwrap();
        let labels: Vec<_> = discover(&workspace).unwrap().iter().map(Guest::label).collect();
        let uppers = Language::ALL.map(|language| format!("{}/upper", language.folder()));
        for label in uppers.iter().map(String::as_str).chain(["rust/lifecycle", "rust/wasip2"]) {
            assert!(labels.iter().any(|found| found == label), "{label} is not in {labels:?}");
        }
    }

    #[test]
    fn the_samples_that_are_built_for_wasi_exist() {
        let workspace = Workspace::find().unwrap();
        let guests = discover(&workspace).unwrap();
        let listed = samples_for_wasi(&workspace).unwrap();
        assert!(!listed.is_empty());
        for name in listed {
            let label = format!("rust/{name}");
            let found = guests.iter().find(|guest| guest.label() == label);
            assert!(found.is_some_and(|guest| guest.is_for_wasi), "{label}");
        }
    }
}
