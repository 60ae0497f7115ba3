//! The same calls under `wasmtime-wasi` as it comes and under this host: the answers are the
//! same, but for those in [`DIFFERENCES`].

mod questions;
mod script;
mod stock;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use socketserver_tests::build;

use self::questions::{DIFFERENCES, QUESTIONS};
use self::script::{FUNCTIONS, component, spoken, words};
use self::stock::Stock;
use super::WASI;
use crate::client::ask;
use crate::fixture::Served;

/// Fills a directory that is granted. There is a file beside it.
fn fill(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let removed = if path.is_symlink() || !path.is_dir() {
            fs::remove_file(path)
        } else {
            fs::remove_dir_all(path)
        };
        removed.unwrap();
    }
    fs::create_dir(directory.join("sub")).unwrap();
    fs::create_dir(directory.join("empty")).unwrap();
    fs::write(directory.join("file"), "inside").unwrap();
    fs::write(directory.join("sub/deep"), "deeper").unwrap();
    fs::write(directory.join("../out"), "secret").unwrap();
    symlink("file", directory.join("link")).unwrap();
    symlink("../out", directory.join("away")).unwrap();
    symlink("self", directory.join("self")).unwrap();
    drop(UnixListener::bind(directory.join("socket")).unwrap());
    let pipe = directory.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::write(directory.join("old"), "").unwrap();
    let old = fs::File::options().write(true).open(directory.join("old")).unwrap();
    let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(5);
    old.set_times(fs::FileTimes::new().set_accessed(before_1970).set_modified(before_1970))
        .unwrap();
}

/// Returns a call with the calls that made its handles.
fn label(calls: &[&str], index: usize) -> String {
    let handles = words(calls[index]).into_iter().filter_map(|word| word.strip_prefix('#'));
    let made = handles.filter_map(|handle| handle.parse::<usize>().unwrap().checked_sub(1));
    let before: String = made.map(|made| label(calls, made) + "; ").collect();
    before + calls[index]
}

/// Returns the answers to a question that differ. If a handle is given on one side only, the calls
/// after it cannot be compared.
fn compare(rights: &str, question: &str, theirs: &[String], ours: &[String]) -> Vec<String> {
    let calls: Vec<&str> = question.split("; ").collect();
    let mut found = Vec::new();
    for (index, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
        let is_refusal_of_changes =
            rights == "ro" && theirs == "not-permitted" && ours == "read-only";
        if theirs != ours && !is_refusal_of_changes {
            found.push(format!("{rights} {}: {theirs}, here {ours}", label(&calls, index)));
        }
        if (theirs == "handle") != (ours == "handle") {
            break;
        }
    }
    found
}

/// Returns all answers that differ.
fn differences() -> BTreeSet<String> {
    let text = component(QUESTIONS);
    let stock = Stock::new(&text);
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("in");
    fs::create_dir(&directory).unwrap();
    let mut found = BTreeSet::new();
    for (rights, suffix) in [("rw", ""), ("ro", ":ro")] {
        let grant = format!("{}::/data{suffix}", directory.display());
        let options = ["--dir", &grant, "--env", "A=b"];
        let served = Served::start(&text, &["tcp://127.0.0.1:0"], &options);
        for (number, question) in QUESTIONS.iter().enumerate() {
            let message = [b'!', u8::try_from(number).unwrap()];
            fill(&directory);
            let theirs = spoken(question, &stock.ask(&directory, rights == "rw", &message));
            fill(&directory);
            let ours = spoken(question, &ask(&served.server, &message));
            found.extend(compare(rights, question, &theirs, &ours));
        }
    }
    found
}

#[test]
fn the_answers_are_those_of_wasmtime_wasi_but_for_the_listed_ones() {
    let found = differences();
    let listed = DIFFERENCES.iter().flat_map(|(rights, difference)| {
        rights.split('+').map(move |rights| format!("{rights} {difference}"))
    });
    let listed: BTreeSet<String> = listed.collect();
    let (new, gone) = (found.difference(&listed), listed.difference(&found));
    let (new, gone): (Vec<_>, Vec<_>) = (new.collect(), gone.collect());
    assert!(new.is_empty() && gone.is_empty(), "not listed: {new:#?}, not found: {gone:#?}");
}

#[test]
fn each_function_of_files_is_asked_for() {
    let calls: Vec<&str> = QUESTIONS.iter().flat_map(|question| question.split("; ")).collect();
    let asked: BTreeSet<&str> = calls.iter().map(|call| words(call)[0]).collect();
    let methods = WASI.split("\"[method]").skip(1).filter_map(|text| text.split('"').next());
    let methods = methods.filter_map(|name| name.split_once('.'));
    let of_files = methods.filter(|(resource, _)| resource.starts_with(['d']));
    let mut count = 0;
    for (_, name) in of_files {
        assert!(asked.contains(name), "{name}");
        count += 1;
    }
    assert!(count > 27, "{count} functions");
    for (_, name, ..) in FUNCTIONS {
        assert!(asked.contains(name), "{name}");
    }
}

/// The reasons of the differences are in a table of `ARCHITECTURE.md`.
#[test]
fn each_function_with_a_difference_is_in_the_table() {
    let text = fs::read_to_string(build::root().join("ARCHITECTURE.md")).unwrap();
    let (_, table) = text.split_once("| `filesystem/types` |").unwrap();
    let (table, _) = table.split_once("| `sockets/*` |").unwrap();
    let functions: Vec<&str> = table
        .lines()
        .filter_map(|row| row.trim_start_matches("| |").split('|').find(|cell| cell.contains('`')))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    for (_, difference) in DIFFERENCES {
        let (calls, _) = difference.split_once(": ").unwrap();
        let name = words(calls.rsplit("; ").next().unwrap())[0];
        assert!(functions.contains(&name), "{name} is not in {functions:?}");
    }
}
