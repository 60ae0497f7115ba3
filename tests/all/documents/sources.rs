//! Checks what the documents say about the modules of the source code.

use std::fs;
use std::path::{Path, PathBuf};

use socketserver_tests::build;

/// The modules of the command line, each of which uses only those before it. `main.rs` says so.
const MODULES: [&str; 19] = [
    "values",
    "report",
    "loading",
    "settings",
    "options",
    "serve",
    "inspect",
    "work",
    "copy",
    "python",
    "source",
    "run",
    "build",
    "config",
    "generation",
    "check",
    "supervise",
    "compile",
    "broker",
];

fn collect(path: PathBuf, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(entry.unwrap().path(), files);
        }
    } else if path.exists() {
        files.push(path);
    }
}

/// Returns the files of a module.
fn files(module: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let source = build::root().join("host/cli/src");
    collect(source.join(module), &mut all);
    collect(source.join(format!("{module}.rs")), &mut all);
    assert!(!all.is_empty(), "there is no module {module}");
    all
}

/// Returns the code of a file without its comments.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn modules_of_the_command_line_use_each_other_in_one_direction() {
    for (place, module) in MODULES.iter().enumerate() {
        for file in files(module) {
            let code = code(&file);
            for later in &MODULES[place + 1..] {
                let uses = code.contains(&format!("crate::{later}::"));
                assert!(!uses, "{} uses `{later}`", file.display());
            }
        }
    }
}

/// Another source than the command line can fill the settings. The keys of the configuration file
/// are the options.
#[test]
fn only_the_options_know_the_parser_of_the_command_line() {
    for module in MODULES.iter().filter(|module| !["options", "config"].contains(module)) {
        for file in files(module) {
            assert!(!code(&file).contains("clap"), "{} uses clap", file.display());
        }
    }
}

/// The rooms in which times are limits, pauses and intervals.
const MONOTONIC: [&str; 11] = [
    "cli/src/supervise",
    "cli/src/serve",
    "socketserver/src/concurrency",
    "socketserver/src/listen",
    "socketserver/src/proxy",
    "socketserver/src/request",
    "socketserver/src/server",
    "socketserver/src/before_wait.rs",
    "sandbox/src/engine",
    "sandbox/src/instance",
    "sandbox/src/limits",
];

/// The files among them that show a time of day, or read one.
const TIMES_OF_DAY: [&str; 2] = ["supervise/watch.rs", "supervise/certificates.rs"];

/// A clock that is set, by a person or by NTP, changes no limit.
#[test]
fn no_limit_is_measured_by_the_time_of_day() {
    for room in MONOTONIC {
        let mut all = Vec::new();
        collect(build::root().join("host").join(room), &mut all);
        assert!(!all.is_empty(), "there is no {room}");
        for file in all {
            if TIMES_OF_DAY.iter().any(|name| file.ends_with(name)) {
                continue;
            }
            for clock in ["SystemTime", "Realtime", "REALTIME", "Timestamp::now", "Zoned::now"] {
                assert!(!code(&file).contains(clock), "{} uses {clock}", file.display());
            }
        }
    }
}
