//! New projects, from the templates that the program contains.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::files::TEMPLATES;
use super::sdk::{self, RUST_CRATE};
use crate::report::printable_path;
use crate::values::language::Language;

/// The longest name of a project, in bytes.
const MAX_NAME: usize = 64;

/// The names that no project in a language can have, because a tool of the language takes them for
/// something else, and the reasons. All other names work: they are names of folders, of a module of
/// Go below `example.com`, or of a package of Cargo whose library has a fixed name.
const TAKEN: [(&[Language], &[&str], &str); 3] = [
    (
        &[Language::JavaScript, Language::TypeScript],
        &["node_modules"],
        "npm takes a folder of this name for installed packages",
    ),
    (
        &[Language::Rust],
        &["socketserver-guest"],
        "the crate that the handler depends on has this name",
    ),
    (
        &[Language::Go],
        &[
            "aux", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "con",
            "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9", "nul", "prn",
        ],
        "it is a device of Windows, and Go refuses such names everywhere",
    ),
];

/// A project to write.
#[derive(Debug, Clone, Copy)]
pub struct Template {
    /// The language.
    pub language: Language,
    /// True for a handler of datagrams.
    pub datagram: bool,
}

/// Returns the languages with what they need, as a table.
pub fn list() -> String {
    let mut text =
        "wasm-socketserver new LANGUAGE NAME writes a project in one of these languages:\n\n"
            .to_owned();
    for language in Language::ALL {
        let datagrams =
            if (Template { language, datagram: true }).exists() { ", datagrams" } else { "" };
        let Facts { handler, needs, .. } = facts(language);
        let word = language.as_str();
        // Writing to a String does not fail.
        let _ = writeln!(text, "    {word:<12}connections{datagrams}; in {handler}; needs {needs}");
    }
    text
}

/// The facts about the project of a language.
struct Facts {
    /// The file with the handler.
    handler: &'static str,
    /// The programs that a build needs beside those that it installs itself.
    needs: &'static str,
    /// The command that serves the project, and what it serves.
    serve: [&'static str; 2],
}

fn facts(language: Language) -> Facts {
    let (handler, needs) = match language {
        Language::Rust => ("src/lib.rs", "Rust with its target wasm32-wasip2"),
        Language::C => ("handler.c", "Python 3"),
        Language::Cpp => ("handler.cpp", "Python 3"),
        Language::Go => ("handler.go", "Go 1.25 or newer, or Python 3"),
        Language::JavaScript => ("handler.js", "Node.js with npm"),
        Language::TypeScript => ("handler.ts", "Node.js with npm"),
        Language::Python => ("server.py", "Python 3"),
        Language::Zig => ("main.zig", "Zig or Python 3"),
    };
    let serve = if language == Language::Python { ["run", "server.py"] } else { ["serve", "."] };
    Facts { handler, needs, serve }
}

impl Template {
    /// Writes a project into a new folder, or into one that is empty, and returns the commands that
    /// serve it.
    ///
    /// # Errors
    ///
    /// The name is none, the folder has something in it, or a file cannot be written.
    pub fn write(self, parent: &Path, name: &str) -> Result<String> {
        check_name(name)?;
        self.check_taken(name)?;
        if !self.exists() {
            bail!("{} has no handlers of datagrams: leave out --datagram", self.language.name());
        }
        let folder = parent.join(name);
        create_empty(&folder)?;
        let Facts { handler, needs, serve: [command, target] } = facts(self.language);
        let [scheme, kind] =
            if self.datagram { ["udp", "SOCK_DGRAM"] } else { ["tcp", "SOCK_STREAM"] };
        let values = [
            ("{{name}}", name),
            ("{{language}}", self.language.name()),
            ("{{handler}}", handler),
            ("{{needs}}", needs),
            ("{{command}}", command),
            ("{{target}}", target),
            ("{{scheme}}", scheme),
            ("{{kind}}", kind),
        ];
        for (path, content) in self.files() {
            let text = String::from_utf8_lossy(content);
            let text = values
                .iter()
                .fold(text.into_owned(), |text, (key, value)| text.replace(key, value));
            create(&folder.join(path), &text)?;
        }
        if self.language == Language::TypeScript {
            // So that editors and `tsc` know the modules.
            sdk::unpack_types(&folder.join("types"))?;
        }
        if self.language == Language::Rust {
            // So that Cargo and editors know the crate before the first build.
            sdk::unpack_rust(&folder.join(RUST_CRATE))?;
        }
        Ok(format!("cd {name} && wasm-socketserver {command} {target}"))
    }

    fn check_taken(self, name: &str) -> Result<()> {
        for (languages, names, reason) in TAKEN {
            let is_taken = names.iter().any(|taken| taken.eq_ignore_ascii_case(name));
            if is_taken && languages.contains(&self.language) {
                bail!("`{name}` is no name of a project in {}: {reason}", self.language.name());
            }
        }
        Ok(())
    }

    fn exists(self) -> bool {
        self.own_files().any(|(name, _)| !name.is_empty())
    }

    /// Returns the files of the kind of handler only.
    fn own_files(self) -> impl Iterator<Item = (&'static str, &'static [u8])> {
        let kind = if self.datagram { "datagram" } else { "stream" };
        below(format!("{}/{kind}/", self.language.as_str()))
    }

    /// Returns all files, by their paths in the project.
    fn files(self) -> impl Iterator<Item = (String, &'static [u8])> {
        let common =
            below(format!("{}/all/", self.language.as_str())).chain(below("every/".to_owned()));
        self.own_files().chain(common).map(|(name, content)| {
            // Cargo leaves folders with a `Cargo.toml` out of the package of this program.
            let name = name.strip_suffix(".template").unwrap_or(name);
            (
                name.strip_prefix("dot-")
                    .map_or_else(|| name.to_owned(), |name| format!(".{name}")),
                content,
            )
        })
    }
}

/// Returns the templates whose paths begin so.
fn below(begin: String) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    TEMPLATES.iter().filter_map(move |(name, content)| Some((name.strip_prefix(&begin)?, *content)))
}

fn check_name(name: &str) -> Result<()> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(is_part)
        && name.len() <= MAX_NAME
    {
        return Ok(());
    }
    bail!(
        "`{}` is no name of a project: a name begins with a letter, and has letters, digits, `-` and `_`, at most {MAX_NAME}",
        socketserver::printable(name, MAX_NAME)
    )
}

/// Creates a folder. It may be there if it is empty.
fn create_empty(folder: &Path) -> Result<()> {
    let name = printable_path(folder);
    match fs::create_dir(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("cannot create `{name}`")),
    }
    // Not what a link leads to.
    if !fs::symlink_metadata(folder)?.is_dir() {
        bail!("`{name}` is there already, and is no folder");
    }
    let mut entries = fs::read_dir(folder).with_context(|| format!("cannot read `{name}`"))?;
    if entries.next().is_some() {
        bail!("`{name}` is there already, and not empty");
    }
    Ok(())
}

/// Writes a file that is not there yet.
fn create(path: &Path, text: &str) -> Result<()> {
    let create = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
    };
    create().with_context(|| format!("cannot write `{}`", printable_path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_has_a_project_without_gaps() {
        for language in Language::ALL {
            for datagram in [false, true] {
                let template = Template { language, datagram };
                if !template.exists() {
                    assert!(datagram, "{language:?}");
                    continue;
                }
                let parent = tempfile::tempdir().unwrap();
                template.write(parent.path(), "my-handler").unwrap();
                let folder = parent.path().join("my-handler");
                for name in [facts(language).handler, "README.md", ".gitignore"] {
                    let text = fs::read_to_string(folder.join(name)).unwrap();
                    assert!(!text.contains("{{") || name.ends_with("zig"), "{language:?} {name}");
                }
                let handler = fs::read_to_string(folder.join(facts(language).handler)).unwrap();
                let lines = handler.lines().filter(|line| !line.trim().is_empty()).count();
                assert!(lines < 20, "{language:?}: {handler}");
            }
        }
    }

    #[test]
    fn a_name_that_is_none_writes_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let template = Template { language: Language::C, datagram: false };
        let long = "a".repeat(65);
        for name in ["", ".", "..", "../x", "/tmp/x", "a/b", "-a", "1a", "a b", "é", "a\n", &long]
        {
            let error = template.write(parent.path(), name).unwrap_err().to_string();
            assert!(error.contains("is no name of a project"), "{name:?}: {error}");
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_empty_stays_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let template = Template { language: Language::C, datagram: false };
        for name in ["empty", "full", "elsewhere"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        fs::write(parent.path().join("full/x"), "x").unwrap();
        fs::write(parent.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink("elsewhere", parent.path().join("link")).unwrap();
        std::os::unix::fs::symlink("none", parent.path().join("dangling")).unwrap();
        template.write(parent.path(), "empty").unwrap();
        for (name, expected) in [
            ("full", "not empty"),
            ("file", "no folder"),
            ("link", "no folder"),
            ("dangling", "no folder"),
        ] {
            let error = template.write(parent.path(), name).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        assert_eq!(fs::read_dir(parent.path().join("full")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(parent.path().join("elsewhere")).unwrap().count(), 0);
    }
}
