//! Names of projects that mean something else to the tools of a language.

use std::process::Command;

use super::{Place, fail, succeed};

#[test]
fn a_project_may_have_a_name_that_a_tool_knows() {
    // Keywords, parts of the standard library, special paths, and names of the SDK.
    for (language, names) in [("go", &["go", "main", "internal", "bytes"][..]), ("c", &["int"])] {
        for name in names {
            let place = Place::new();
            succeed(place.command(&["new", language, name]));
            succeed(place.command(&["build", name]));
            assert!(place.path(&format!("{name}.wasm")).is_file(), "{language} {name}");
        }
    }
}

#[test]
fn cargo_reads_a_project_whose_name_it_would_refuse_to_create() {
    for name in ["test", "core", "self", "async", "socketserver_guest", "handler", "wit-bindgen"] {
        let place = Place::new();
        succeed(place.command(&["new", "rust", name]));
        let mut cargo = Command::new("cargo");
        cargo.args(["metadata", "--offline", "--no-deps", "--format-version=1"]);
        succeed(cargo.current_dir(place.path(name)));
    }
}

#[test]
fn a_name_that_a_tool_cannot_have_is_refused_with_the_reason() {
    for (language, name, expected) in [
        ("rust", "socketserver-guest", "in Rust: the crate that the handler depends on"),
        ("js", "node_modules", "in JavaScript: npm takes a folder of this name"),
        ("ts", "Node_Modules", "in TypeScript: npm takes a folder of this name"),
        ("go", "CON", "in Go: it is a device of Windows"),
        ("go", "1st", "a name begins with a letter"),
        ("python", "größe", "a name begins with a letter"),
    ] {
        let place = Place::new();
        let error = fail(place.command(&["new", language, name]), 1);
        assert!(error.contains(expected), "{language} {name}: {error}");
        assert!(!place.path(name).exists());
    }
}
