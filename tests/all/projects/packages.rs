//! Packages of npm that handlers in JavaScript and TypeScript import.

use socketserver_tests::process::Server;

use super::{Place, fail, succeed};
use crate::client::ask;

const HANDLER: &str = "import { BaseRequestHandler, streamRequest as serve } from 'socketserver';
import shout, { mark as end } from 'shout';
import { twice } from '@scope/many/twice.js';
import common, { count } from 'common';

class Handler extends BaseRequestHandler {
  handle() {
    const text = String.fromCharCode(...this.request.recv(100));
    if (text === 'fail') throw new Error('as asked');
    this.request.sendall(twice(shout(text)) + end + common.name + count([1, 2]));
  }
}

export const streamRequest = serve(Handler);
";

/// Writes packages into the `node_modules` of a folder: a module, a scope with a subpath, and one in
/// `CommonJS` that requires another.
fn install(place: &Place, folder: &str) {
    for (file, text) in [
        (
            "shout/package.json",
            r#"{"name": "shout", "type": "module", "exports": "./lib/main.js"}"#,
        ),
        (
            "shout/lib/main.js",
            "import { twice } from '@scope/many/twice.js';\nexport const mark = twice('!');\n\
             export default (text) => text.toUpperCase();\n",
        ),
        (
            "@scope/many/package.json",
            r#"{"name": "@scope/many", "type": "module", "exports": {"./*": "./*"}}"#,
        ),
        ("@scope/many/twice.js", "export function twice(text) { return text + text; }\n"),
        ("common/package.json", r#"{"name": "common", "main": "index.js"}"#),
        (
            "common/index.js",
            "const inner = require('inner');\nexports.name = 'common' + process.env.NODE_ENV.length;\n\
             exports.count = (list) => inner.length(list);\n",
        ),
        ("inner/package.json", r#"{"name": "inner"}"#),
        ("inner/index.js", "module.exports = { length(list) { return list.length; } };\n"),
    ] {
        place.write(&format!("{folder}/node_modules/{file}"), text);
    }
}

#[test]
fn a_handler_imports_packages_from_node_modules() {
    let place = Place::new();
    install(&place, "above");
    place.write("above/project/package.json", r#"{"type": "module", "main": "handler.js"}"#);
    place.write("above/project/handler.js", HANDLER);
    let serve = |answer: &str| {
        let mut serve = place.command(&["serve", "above/project", "--bind", "tcp://127.0.0.1:0"]);
        let mut server = Server::start(&mut serve, 1).unwrap();
        assert_eq!(String::from_utf8(ask(&server, b"hey")).unwrap(), answer);
        // The handler's own lines are those of its file.
        ask(&server, b"fail");
        let line = server.wait_for_log("handler.js:").unwrap();
        assert!(line.contains("handler.js:9"), "{line}");
    };
    serve("HEYHEY!!common102");
    // A package that has changed is a change.
    place.write(
        "above/node_modules/common/index.js",
        "module.exports = { name: 'changed', count(list) { return list.length; } };\n",
    );
    serve("HEYHEY!!changed2");
    // A file alone, in TypeScript.
    let typed = HANDLER.replace("const text =", "const text: string =");
    place.write("above/alone/typed.ts", &typed);
    succeed(place.command(&["build", "above/alone/typed.ts"]));
    assert!(place.path("typed.wasm").is_file());
}

#[test]
fn the_packages_of_package_json_are_installed_without_their_scripts() {
    let place = Place::new();
    place.write("shared/package.json", r#"{"name": "shared", "version": "1.0.0", "type": "module", "main": "main.js", "scripts": {"install": "touch ran", "prepare": "touch ran"}}"#);
    place.write("shared/main.js", "export const word = 'from a package';\n");
    place.write(
        "project/package.json",
        r#"{"type": "module", "main": "handler.js", "dependencies": {"shared": "file:../shared"}, "scripts": {"install": "touch ran"}}"#,
    );
    place.write(
        "project/handler.js",
        "import { BaseRequestHandler, streamRequest as serve } from 'socketserver';\n\
         import { word } from 'shared';\n\
         class Handler extends BaseRequestHandler { handle() { this.request.sendall(word); } }\n\
         export const streamRequest = serve(Handler);\n",
    );
    let mut serve = place.command(&["serve", "project", "--bind", "tcp://127.0.0.1:0"]);
    let server = Server::start(&mut serve, 1).unwrap();
    assert_eq!(ask(&server, b""), b"from a package");
    for name in ["shared/ran", "project/ran"] {
        assert!(!place.path(name).exists(), "{name}");
    }
}

#[test]
fn a_package_that_is_not_there_or_needs_node_js_is_an_error_that_says_so() {
    let place = Place::new();
    let handler =
        |import: &str| format!("import x from '{import}';\nexport const streamRequest = x;\n");
    place.write("a/node_modules/needs/package.json", r#"{"name": "needs"}"#);
    place.write("a/node_modules/needs/index.js", "module.exports = require('fs');\n");
    for (import, expected) in [
        ("missing", "run `npm install missing` in the folder of the handler"),
        ("fs", "Modules of Node.js itself, such as `fs`, are not there"),
        ("needs", "A package needs Node.js itself: \"fs\""),
    ] {
        place.write("a/handler.js", &handler(import));
        let error = fail(place.command(&["build", "a"]), 1);
        assert!(error.contains(expected), "{import}: {error}");
    }
}
