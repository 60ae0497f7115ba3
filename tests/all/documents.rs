//! Checks that the documents agree with the tests and the code.

mod named_options;
mod pages;
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use socketserver::UrlOption;
use socketserver_tests::build;

/// The number of rows in `docs/src/python/behaviours.md`.
const ROWS: usize = 96;

/// Returns the names of all functions in the Rust files below these folders.
fn functions(folders: &[&str]) -> BTreeSet<String> {
    fn collect(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).unwrap();
                let functions = text.lines().filter_map(|line| line.trim().strip_prefix("fn "));
                names.extend(functions.filter_map(|line| Some(line.split('(').next()?.to_owned())));
            }
        }
    }
    let mut names = BTreeSet::new();
    for folder in folders {
        collect(&build::root().join(folder), &mut names);
    }
    names
}

/// Returns the texts between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Returns the numbers of the rows in the name of a test: 5 and 6 for `b05_b06_a_thing`.
fn rows_of(test: &str) -> Vec<usize> {
    let parts = test.split('_').map_while(|part| part.strip_prefix('b')?.parse().ok());
    parts.collect()
}

#[test]
fn the_fuzz_targets_have_the_versions_of_dependencies_that_are_shipped() {
    let lock = |path: &str| fs::read_to_string(build::root().join(path)).unwrap();
    let versions = |text: &str| -> BTreeSet<(String, String)> {
        let packages = text.split("[[package]]").filter_map(|package| {
            let value = |key: &str| {
                package.lines().find_map(|line| Some(line.strip_prefix(key)?.trim().to_owned()))
            };
            Some((value("name =")?, value("version =")?))
        });
        packages.collect()
    };
    let (shipped, fuzzed) =
        (versions(&lock("Cargo.lock")), versions(&lock("tests/fuzz/Cargo.lock")));
    let other = fuzzed.iter().filter(|package| {
        !shipped.contains(*package) && shipped.iter().any(|(name, _)| *name == package.0)
    });
    assert_eq!(other.collect::<Vec<_>>(), Vec::<&(String, String)>::new());
    assert!(fuzzed.intersection(&shipped).any(|(name, _)| name == "\"wasmtime\""));
}

#[test]
fn each_test_of_cpython_has_a_counterpart() {
    let text = fs::read_to_string(build::root().join("docs/src/python/behaviours.md")).unwrap();
    let tests = functions(&["host/socketserver", "tests/all", "guest-sdk/rust/src"]);
    let (_, table) = text.split_once("| CPython | here |").unwrap();
    let mut count = 0;
    for line in table.lines().filter(|line| line.starts_with("| `test_")) {
        let (cpython, here) = line.trim_matches('|').split_once(" | ").unwrap();
        count += quoted(cpython).filter(|name| name.starts_with("test_")).count();
        for name in quoted(here).filter(|name| name.contains('_')) {
            let is_of_python = ["__all__"].contains(&name);
            assert!(is_of_python || tests.contains(name), "{cpython}: there is no test `{name}`");
        }
    }
    assert_eq!(count, 27);
}

#[test]
fn each_row_of_the_behaviours_names_its_tests() {
    let text = fs::read_to_string(build::root().join("docs/src/python/behaviours.md")).unwrap();
    let tests = functions(&["host/socketserver", "tests/all", "guest-sdk/rust/src"]);
    let probes = build::root().join("tests/conformance/probes");
    for row in 1..=ROWS {
        let begin = format!("| B{row:02} |");
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(&begin)).collect();
        assert_eq!(lines.len(), 1, "row {begin} is there {} times", lines.len());
        let cells: Vec<&str> = lines[0].split(" | ").collect();
        let (difference, shown_by) = (cells[2], cells[3]);
        for name in quoted(shown_by) {
            let is_probe = probes.join(format!("{name}.py")).exists();
            assert!(is_probe || tests.contains(name), "row {begin}: there is no test `{name}`");
        }
        assert!(
            quoted(shown_by).next().is_some() || !difference.trim().is_empty(),
            "row {begin} has neither a test nor a reason"
        );
        for test in tests.iter().filter(|test| rows_of(test).contains(&row)) {
            assert!(shown_by.contains(&format!("`{test}`")), "row {begin} lacks `{test}`");
        }
    }
}

#[test]
fn each_name_of_python_s_modules_has_a_test() {
    let text = fs::read_to_string(build::root().join("docs/src/python/socket.md")).unwrap();
    let tests = functions(&["host/socketserver", "tests/all", "guest-sdk/rust/src"]);
    let (tables, _) = text.split_once("\n## Options\n").unwrap();
    let rows: Vec<&str> = tables.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 50, "{}", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 3, "{row}");
        let shown_by: Vec<&str> = quoted(cells[2]).collect();
        assert!(!shown_by.is_empty(), "no test: {row}");
        for test in shown_by {
            let is_hostile = hostile_handlers().contains(test);
            assert!(is_hostile || tests.contains(test), "there is no test `{test}`: {row}");
        }
    }
}

#[test]
fn each_program_of_the_notes_has_a_row() {
    let text = fs::read_to_string(build::root().join("docs/src/python/socket.md")).unwrap();
    let programs = fs::read_dir(build::root().join("tests/conformance/notes")).unwrap();
    let mut count = 0;
    for program in programs.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        if program.ends_with("_server.py") || program.ends_with("_client.py") {
            let has_row = text
                .lines()
                .any(|line| line.starts_with("| `") && quoted(line).any(|name| name == program));
            assert!(has_row, "docs/src/python/socket.md has no row for `{program}`");
            count += 1;
        }
    }
    assert_eq!(count, 13);
}

/// Returns the names of the rows in the tables of hostile handlers, each of which is a test.
fn hostile_handlers() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(build::root().join("tests/all/attacks/guests")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let rows = text.lines().filter_map(|line| line.trim().split_once(": "));
        names.extend(rows.map(|(name, _)| name.to_owned()));
    }
    names
}

/// The table of the options of a listening socket is made from the program's.
#[test]
fn the_page_about_listening_has_the_table_of_socket_options() {
    let page = "docs/src/serving/listening.md";
    let text = fs::read_to_string(build::root().join(page)).unwrap();
    let rows: Vec<_> = UrlOption::ALL.iter().map(ToString::to_string).collect();
    let table = format!("\n{}\n{}\n\n", UrlOption::HEADING, rows.join("\n"));
    assert!(text.contains(&table), "{page} lacks this table:\n{table}");
}

#[test]
fn the_tests_that_the_security_policy_names_exist() {
    let text = fs::read_to_string(build::root().join("SECURITY.md")).unwrap();
    let quoted = text.split('`').skip(1).step_by(2);
    let paths: Vec<&str> = quoted
        .filter(|quoted| quoted.starts_with("tests/") || quoted.starts_with("host/"))
        .collect();
    assert!(paths.len() > 10, "{paths:?}");
    for name in paths {
        let path = build::root().join(name);
        assert!(path.exists() || path.with_extension("rs").exists(), "{name}");
    }
}
