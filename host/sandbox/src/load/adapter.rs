//! From a core module to a component: programs for WASI's first preview, which the compilers of
//! most languages make.
//!
//! The module is hostile, so this runs where components are compiled.

use sha2::{Digest, Sha256};
use socketserver::printable;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as PREVIEW1,
    WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as ADAPTER,
};
use wasmparser::{ExternalKind, Import, Parser, Payload};
use wit_component::ComponentEncoder;

use crate::error::LoadError;
use crate::load::go_memory;

/// The function with which a program begins.
const START: &str = "_start";

/// The memory of a program.
const MEMORY: &str = "memory";

/// The version of what this file does, for the key of the cache. Change it with this file and
/// with the version of `wit-component`.
const VERSION: &str = "2";

/// Returns a digest of everything but the module that shapes the component.
pub(crate) fn version() -> [u8; 32] {
    Sha256::new().chain_update(VERSION).chain_update(ADAPTER).finalize().into()
}

/// Makes a component of the binary of a core module. It exports `wasi:cli/run`.
///
/// # Errors
///
/// The module is no program, imports something else than WASI's first preview, or is not valid.
pub(crate) fn to_component(module: &[u8]) -> Result<Vec<u8>, LoadError> {
    check(module)?;
    let with_room = go_memory::with_room(module);
    ComponentEncoder::default()
        .module(with_room.as_deref().unwrap_or(module))
        .and_then(|encoder| encoder.adapter(PREVIEW1, ADAPTER))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| refused(&format!("{error:#}")))
}

/// Checks what a module imports and exports, so that an error names it.
fn check(module: &[u8]) -> Result<(), LoadError> {
    let (mut has_start, mut has_memory) = (false, false);
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(|error| invalid(&error))? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let Import { module, name, .. } = import.map_err(|error| invalid(&error))?;
                    if module != PREVIEW1 {
                        let import = format!("imports `{name}` of `{module}`");
                        let only = format!("of `{PREVIEW1}` only");
                        return Err(refused(&format!("it {import}, and the host provides {only}")));
                    }
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.map_err(|error| invalid(&error))?;
                    has_start |= export.name == START && export.kind == ExternalKind::Func;
                    has_memory |= export.name == MEMORY && export.kind == ExternalKind::Memory;
                }
            }
            _ => {}
        }
    }
    if !has_start {
        return Err(LoadError::CoreModule);
    }
    if !has_memory {
        return Err(refused("it exports no `memory`, as programs for WASI do"));
    }
    Ok(())
}

fn invalid(error: &wasmparser::BinaryReaderError) -> LoadError {
    refused(&error.to_string())
}

fn refused(why: &str) -> LoadError {
    LoadError::Module(printable(why, 500))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(text: &str) -> Result<Vec<u8>, String> {
        to_component(&wat::parse_str(text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_program_becomes_a_component() {
        let program = r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
            (memory (export "memory") 1)
            (func (export "_start")))"#;
        let component = made_of(program).unwrap();
        assert_eq!(component[..8], *b"\0asm\x0d\0\x01\0");
    }

    #[test]
    fn a_program_without_a_memory_is_refused() {
        let error = made_of(r#"(module (func (export "_start")))"#).unwrap_err();
        assert!(error.contains("exports no `memory`"), "{error}");
    }

    #[test]
    fn what_cannot_be_a_program_is_refused_by_name() {
        let start = r#"(func (export "_start")) (memory (export "memory") 1)"#;
        for (fields, why) in [
            ("", "exports no function `_start`"),
            (r#"(memory (export "_start") 1)"#, "exports no function `_start`"),
            (r#"(import "env" "print" (func))"#, "it imports `print` of `env`"),
            (r#"(import "wasi_unstable" "fd_read" (func))"#, "`fd_read` of `wasi_unstable`"),
            (r#"(import "wasi_snapshot_preview1" "no_such" (func))"#, "no_such"),
            (r#"(import "wasi_snapshot_preview1" "fd_close" (func (param f32)))"#, "fd_close"),
        ] {
            let start = if fields.starts_with("(import") { start } else { "" };
            let error = made_of(&format!("(module {fields} {start})")).unwrap_err();
            assert!(error.contains(why), "{fields}: {error}");
        }
    }
}
