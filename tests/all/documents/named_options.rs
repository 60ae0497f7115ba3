//! Checks that the options which documents, help texts, errors and comments name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use socketserver_tests::build;

/// The places in which an option is one of `wasm-socketserver`, if it is not in [`OTHERS`].
const PLACES: [&str; 10] = [
    "README.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/src",
    "guest-sdk",
    "guests",
    "host",
    "wit",
];

/// Options of other programs: Cargo and its tests, the benches, tools of languages, systemd.
const OTHERS: &str = "--bench --beside --bin --bindings --bins --check-bindings --config --crowd --directory \
    --disable-pip-version-check --exact --example --filter-platform --format-version --idle --ignore-scripts --js \
    --kill-whom --lib --list --locked --manifest-path --message-format --mib --mode --module-root --no-audit --no-create-home --no-deps --no-fund \
    --no-install-recommends --nocapture --now --only --only-binary --open --options --output --path --prefix --print \
    --python-path --release --requests --root --rounds --shell --signal --silent --stub-wasi --sync --system \
    --target --test --test-threads --unit --wit --wit-path --workspace --world --yes";

/// Options that no help shows.
const HIDDEN: &str = "--take-over --try";

/// Options that do not exist, in tests of errors.
const WRONG: &str = "--bund --cputime --port --verbose --xyzzy";

/// The endings of the names of text files.
const TEXTS: [&str; 12] =
    ["md", "rs", "wit", "toml", "py", "go", "js", "c", "h", "hpp", "cpp", "wat"];

/// Returns the options in a text: `--` at the beginning of a word, and lower-case letters.
fn options(text: &str) -> BTreeSet<String> {
    let mut options = BTreeSet::new();
    for (place, _) in text.match_indices("--") {
        let is_inside = text[..place].ends_with(|c: char| c.is_alphanumeric() || "-_/".contains(c));
        let rest = &text[place + 2..];
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let name = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        let name = name.trim_end_matches('-');
        if !is_inside && name.len() > 1 && name.starts_with(|c: char| c.is_ascii_lowercase()) {
            options.insert(format!("--{name}"));
        }
    }
    options
}

/// Returns the options that each command has, hidden commands included.
fn existing() -> BTreeSet<String> {
    let commands: [&[&str]; 14] = [
        &[],
        &["new"],
        &["serve"],
        &["run"],
        &["build"],
        &["inspect"],
        &["drain"],
        &["generation"],
        &["monitor"],
        &["compile"],
        &["snapshot"],
        &["precompile"],
        &["completions"],
        &["man"],
    ];
    let mut existing = BTreeSet::new();
    for command in commands {
        let output =
            Command::new(build::host().unwrap()).args(command).arg("--help").output().unwrap();
        assert!(output.status.success(), "{command:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        for line in help.lines().map(str::trim_start).filter(|line| line.starts_with('-')) {
            // The option stands before its description.
            let spelling = line.split("  ").next().unwrap_or_default();
            existing.extend(options(spelling));
        }
    }
    existing
}

/// Calls `check` with each text file in a place, and its path.
fn for_each_text(place: &Path, check: &mut impl FnMut(&Path, &str)) {
    if place.is_dir() {
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            let is_made =
                path.is_symlink() || ["target", "node_modules"].iter().any(|it| path.ends_with(it));
            if !is_made {
                for_each_text(&path, check);
            }
        }
    } else if place.extension().is_some_and(|end| TEXTS.iter().any(|text| end == *text)) {
        check(place, &fs::read_to_string(place).unwrap());
    }
}

#[test]
fn each_option_that_a_text_names_exists() {
    let existing = existing();
    assert!(existing.len() > 50, "{existing:?}");
    let others: BTreeSet<&str> =
        [OTHERS, HIDDEN, WRONG].into_iter().flat_map(str::split_whitespace).collect();
    let mut unknown = Vec::new();
    for place in PLACES {
        for_each_text(&build::root().join(place), &mut |path, text| {
            for option in options(text) {
                if !existing.contains(&option) && !others.contains(option.as_str()) {
                    unknown.push(format!("{}: {option}", path.display()));
                }
            }
        });
    }
    assert_eq!(unknown, Vec::<String>::new(), "these options do not exist");
}
