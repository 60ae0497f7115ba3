//! Packages of npm that a handler in JavaScript or TypeScript imports.
//!
//! The compiler of handlers reads modules only, and many packages are none (`CommonJS`). So each
//! package is bundled into one module before the compiler runs.

use std::path::Path;
use std::process::Command;

use crate::Package;
use crate::javascript::{Folders, HANDLER};

/// The package of npm that bundles.
pub const BUNDLE: Package = Package { name: "esbuild", version: "0.25.10" };

/// The longest name of a package with a path in it, in bytes.
const MAX_SPECIFIER: usize = 300;
/// The largest number of packages that a handler imports.
const MAX_PACKAGES: usize = 1000;

/// Returns what the text of modules imports from packages, each once: `ms`, `@scope/name/part`.
/// The SDK, the contract and modules of Node.js by their full names are not among it. The text is
/// not parsed, so what only looks like an import is there, too.
pub fn imports(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for keyword in ["from", "import"] {
        for (start, _) in text.match_indices(keyword) {
            if keyword == "from" && is_of_types(&text[..start]) {
                continue;
            }
            let rest = text[start + keyword.len()..].trim_start();
            let rest = rest.strip_prefix('(').map_or(rest, str::trim_start);
            let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
                continue;
            };
            let Some((specifier, _)) = rest[1..].split_once(quote) else { continue };
            if is_package(specifier) && !found.contains(&specifier) && found.len() < MAX_PACKAGES {
                found.push(specifier);
            }
        }
    }
    found.sort_unstable();
    found
}

/// Returns true if a statement of TypeScript that ends so imports or exports types only.
fn is_of_types(text: &str) -> bool {
    let statement = text.rfind("import").max(text.rfind("export"));
    let words = statement.map_or("", |start| &text[start..]);
    // Without a second word, the name of what is imported is `type`.
    let mut words = words.split_whitespace().skip(1);
    words.next() == Some("type") && words.next().is_some()
}

fn is_package(specifier: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "@/-_.~$".contains(c);
    specifier.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '@' | '_'))
        && specifier.len() <= MAX_SPECIFIER
        && specifier.chars().all(is_part)
        && !specifier.split('/').any(|part| part.is_empty() || part == "..")
        && name(specifier) != "socketserver"
}

/// Returns the name of the package of an import: `@scope/name` of `@scope/name/part`.
pub fn name(specifier: &str) -> &str {
    let parts = if specifier.starts_with('@') { 2 } else { 1 };
    let end = specifier.match_indices('/').nth(parts - 1);
    end.map_or(specifier, |(end, _)| &specifier[..end])
}

/// Returns the command that bundles packages for a handler, before the handler is compiled.
/// `esbuild` is the folder of [`BUNDLE`], and `project` the folder from which the packages are
/// looked up.
pub fn bundle(esbuild: &Path, folders: Folders<'_>, project: &Path, imports: &[String]) -> Command {
    let mut node = Command::new("node");
    node.arg(folders.sdk.join("packages.mjs")).arg(esbuild).arg(folders.build.join(HANDLER));
    node.arg(project).args(imports);
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_imports_of_packages_are_found_in_a_text() {
        let text = "import ms from 'ms';\nimport {\n  a, b as c,\n} from \"@scope/name/part.js\";\n\
            import 'side-effect';\nexport * from 'ms';\nconst x = await import( 'later' );\n\
            import { y } from './y.js';\nimport 'node:fs'; import z from 'socketserver';\n\
            import n from 'socketserver/network.js'; import w from 'wasi:clocks/x@0.2.0';\n\
            import type { T } from 'types-only'; export type { U } from 'more-types';\n\
            import type from 'type-named';\n\
            import '../up.js'; import '/etc/x'; import 'a/../b'; import ''; from 'open";
        assert_eq!(
            imports(text),
            ["@scope/name/part.js", "later", "ms", "side-effect", "type-named"]
        );
        assert!(imports("").is_empty());
    }

    #[test]
    fn the_name_of_a_package_may_have_a_scope() {
        for (specifier, expected) in [
            ("ms", "ms"),
            ("ms/part", "ms"),
            ("@a/b", "@a/b"),
            ("@a/b/c/d.js", "@a/b"),
            ("@a", "@a"),
        ] {
            assert_eq!(name(specifier), expected);
        }
    }
}
