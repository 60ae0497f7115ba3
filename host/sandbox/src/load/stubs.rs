//! WASI interfaces that code in a component uses and that the component does not import.
//! Some build tools replace them inside the component: by functions that trap, or by values
//! from the time of the build.

use std::collections::BTreeSet;

use wasmparser::{Parser, Payload};

use crate::host::wasi;

/// The version of WASI from before components.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// The interface, and the function of [`PREVIEW1`], that end a program. A component that
/// imports no other interface of WASI has no adapter from [`PREVIEW1`].
const EXIT: (&str, &str) = ("wasi:cli/exit", "proc_exit");

/// Returns the WASI interfaces, without their versions, that the host has and that modules
/// or components inside `component` import, but that are not among the `imports` of the
/// component itself.
///
/// This parses the whole component, so it is for a process that does not serve, in a jail.
/// It returns none for text, and for bytes that cannot be parsed.
pub fn stubbed_wasi(component: &[u8], imports: &[String]) -> Vec<&'static str> {
    let imported: BTreeSet<&str> = imports.iter().map(|name| without_version(name)).collect();
    let used = used_inside(component);
    let mut stubbed: Vec<_> = wasi::INTERFACES
        .iter()
        .map(|(name, _)| without_version(name))
        .filter(|name| used.contains(name) && !imported.contains(name))
        .collect();
    let adapted = imported.iter().any(|name| name.starts_with("wasi:") && *name != EXIT.0);
    if used.contains(PREVIEW1) && !adapted {
        stubbed.push(PREVIEW1);
    }
    stubbed
}

/// Returns the interfaces of the host that modules and components inside import, up to the
/// first bytes that cannot be parsed.
fn used_inside(component: &[u8]) -> BTreeSet<&'static str> {
    let mut used = BTreeSet::new();
    let mut add = |name: &str| {
        let known = wasi::INTERFACES.iter().map(|(name, _)| without_version(name));
        used.extend(known.filter(|known| *known == without_version(name)));
    };
    let mut uses_preview1 = false;
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports().map_while(Result::ok) {
                    add(import.module);
                    uses_preview1 |= import.module == PREVIEW1 && import.name != EXIT.1;
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.into_iter().map_while(Result::ok) {
                    add(import.name.name);
                }
            }
            _ => {}
        }
    }
    if uses_preview1 {
        used.insert(PREVIEW1);
    }
    used
}

/// Returns the name of an interface without its version.
fn without_version(name: &str) -> &str {
    name.split_once('@').map_or(name, |(interface, _)| interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stubbed(text: &str, imports: &[&str]) -> Vec<&'static str> {
        let imports: Vec<String> = imports.iter().map(ToString::to_string).collect();
        stubbed_wasi(&wat::parse_str(text).unwrap(), &imports)
    }

    const MODULE: &str = r#"(component
        (core module
            (import "wasi:random/random@0.2.4" "get-random-u64" (func (result i64)))
            (import "wasi:nn/graph@0.2.0" "load" (func))
            (import "wasi:cli/exit@0.2.0" "exit" (func (param i32)))))"#;

    #[test]
    fn an_interface_that_is_replaced_inside_is_named() {
        assert_eq!(stubbed(MODULE, &[]), ["wasi:cli/exit", "wasi:random/random"]);
        assert_eq!(stubbed(MODULE, &["wasi:cli/exit@0.2.6"]), ["wasi:random/random"]);
        let imports = ["wasi:cli/exit@0.2.0", "wasi:random/random@0.2.0"];
        assert_eq!(stubbed(MODULE, &imports), [""; 0]);
    }

    #[test]
    fn imports_of_nested_components_count() {
        let text = r#"(component
            (component
                (import "wasi:clocks/wall-clock@0.2.6" (instance))
                (component (import "wasi:cli/stdout@0.2.6" (instance)))))"#;
        assert_eq!(stubbed(text, &[]), ["wasi:cli/stdout", "wasi:clocks/wall-clock"]);
    }

    #[test]
    fn preview_1_without_an_adapter_is_named_unless_only_its_exit_is_used() {
        let text = |name: &str| {
            format!(r#"(component (core module (import "{PREVIEW1}" "{name}" (func))))"#)
        };
        assert_eq!(stubbed(&text("fd_write"), &[]), [PREVIEW1]);
        assert_eq!(stubbed(&text("fd_write"), &["wasi:cli/exit@0.2.0"]), [PREVIEW1]);
        assert_eq!(stubbed(&text("fd_write"), &["wasi:io/streams@0.2.6"]), [""; 0]);
        assert_eq!(stubbed(&text("proc_exit"), &["wasi:cli/exit@0.2.0"]), [""; 0]);
    }

    #[test]
    fn a_damaged_component_is_parsed_up_to_the_damage() {
        let mut binary = wat::parse_str(MODULE).unwrap();
        binary.extend([0xff; 8]);
        assert_eq!(stubbed_wasi(&binary, &[]), ["wasi:cli/exit", "wasi:random/random"]);
        for length in 0..binary.len() {
            stubbed_wasi(&binary[..length], &[]);
        }
        assert_eq!(stubbed_wasi(MODULE.as_bytes(), &[]), [""; 0]);
    }
}
