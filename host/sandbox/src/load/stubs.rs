//! What code in a component asks WASI for that the component does not ask its host
//! for. Some tools answer it within, by functions that trap or by what they found
//! when they built it.

use std::collections::BTreeSet;

use wasmparser::{Parser, Payload};

use crate::host::wasi;

/// WASI as it was before components.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// What ends a program. A component that asks its host for nothing else of WASI has
/// no adapter that would ask on behalf of [`PREVIEW1`].
const EXIT: (&str, &str) = ("wasi:cli/exit", "proc_exit");

/// The interfaces of WASI, without their versions, that something inside a component
/// imports and the component itself, whose `imports` these are, does not, although
/// the host has them.
///
/// That reads the whole component, so it is for a process that does not serve, in its
/// jail. Text, and what cannot be read, has none.
pub fn stubbed_wasi(component: &[u8], imports: &[String]) -> Vec<&'static str> {
    let asked: BTreeSet<&str> = imports.iter().map(|name| interface(name)).collect();
    let wanted = wanted(component);
    let mut stubbed: Vec<_> = wasi::INTERFACES
        .iter()
        .map(|(name, _)| interface(name))
        .filter(|name| wanted.contains(name) && !asked.contains(name))
        .collect();
    let adapted = asked.iter().any(|name| name.starts_with("wasi:") && *name != EXIT.0);
    if wanted.contains(PREVIEW1) && !adapted {
        stubbed.push(PREVIEW1);
    }
    stubbed
}

/// What the modules and components inside import of the host's interfaces, up to where
/// they cannot be read.
fn wanted(component: &[u8]) -> BTreeSet<&'static str> {
    let mut wanted = BTreeSet::new();
    let mut want = |name: &str| {
        let known = wasi::INTERFACES.iter().map(|(name, _)| interface(name));
        wanted.extend(known.filter(|known| *known == interface(name)));
    };
    let mut wants_preview1 = false;
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports().map_while(Result::ok) {
                    want(import.module);
                    wants_preview1 |= import.module == PREVIEW1 && import.name != EXIT.1;
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.into_iter().map_while(Result::ok) {
                    want(import.name.name);
                }
            }
            _ => {}
        }
    }
    if wants_preview1 {
        wanted.insert(PREVIEW1);
    }
    wanted
}

/// The name of an interface without its version.
fn interface(name: &str) -> &str {
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
    fn what_is_answered_within_is_named() {
        assert_eq!(stubbed(MODULE, &[]), ["wasi:cli/exit", "wasi:random/random"]);
        assert_eq!(stubbed(MODULE, &["wasi:cli/exit@0.2.6"]), ["wasi:random/random"]);
        let asked = ["wasi:cli/exit@0.2.0", "wasi:random/random@0.2.0"];
        assert_eq!(stubbed(MODULE, &asked), [""; 0]);
    }

    #[test]
    fn components_inside_are_looked_into() {
        let text = r#"(component
            (component
                (import "wasi:clocks/wall-clock@0.2.6" (instance))
                (component (import "wasi:cli/stdout@0.2.6" (instance)))))"#;
        assert_eq!(stubbed(text, &[]), ["wasi:cli/stdout", "wasi:clocks/wall-clock"]);
    }

    #[test]
    fn the_first_preview_needs_an_adapter_unless_it_is_used_to_exit_only() {
        let text = |name: &str| {
            format!(r#"(component (core module (import "{PREVIEW1}" "{name}" (func))))"#)
        };
        assert_eq!(stubbed(&text("fd_write"), &[]), [PREVIEW1]);
        assert_eq!(stubbed(&text("fd_write"), &["wasi:cli/exit@0.2.0"]), [PREVIEW1]);
        assert_eq!(stubbed(&text("fd_write"), &["wasi:io/streams@0.2.6"]), [""; 0]);
        assert_eq!(stubbed(&text("proc_exit"), &["wasi:cli/exit@0.2.0"]), [""; 0]);
    }

    #[test]
    fn what_cannot_be_read_is_read_up_to_there() {
        let mut binary = wat::parse_str(MODULE).unwrap();
        binary.extend([0xff; 8]);
        assert_eq!(stubbed_wasi(&binary, &[]), ["wasi:cli/exit", "wasi:random/random"]);
        for length in 0..binary.len() {
            stubbed_wasi(&binary[..length], &[]);
        }
        assert_eq!(stubbed_wasi(MODULE.as_bytes(), &[]), [""; 0]);
    }
}
