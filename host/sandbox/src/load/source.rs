//! From a file to the binary of a component or of a core module.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use socketserver::printable;
use wasmparser::{Chunk, Parser, Payload};

use crate::error::LoadError;

/// The first four bytes of every WebAssembly binary.
const MAGIC: &[u8] = b"\0asm";
/// The first four bytes of a precompiled artifact, which is an ELF file.
const ELF: &[u8] = b"\x7fELF";

/// Reads a file for [`Component::new`](crate::Component::new), if it has at most `limit`
/// bytes.
///
/// # Errors
///
/// The file is larger, is not a regular file, or cannot be read.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    // Without NONBLOCK, to open a pipe would wait until another process writes to it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty()).map_err(std::io::Error::from)?);
    let metadata = file.metadata()?;
    // To read a directory has an error of its own.
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(LoadError::NotAFile);
    }
    let too_large = |size| LoadError::TooLarge { size, limit };
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    // The file may grow while it is read.
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// A binary, of which the host has seen only where its sections are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binary {
    /// A component.
    Component(Vec<u8>),
    /// A core module.
    Module(Vec<u8>),
}

/// Returns `true` if `bytes` begin as the binary of a core module does.
pub(crate) fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0")
}

/// Converts `bytes` to a binary, if they are one or its text.
///
/// This parses text, but only walks over the sections of a binary: the compiler validates
/// them.
///
/// # Errors
///
/// The bytes are something else, with an error for each kind, or are cut off.
pub(crate) fn to_binary(bytes: Vec<u8>) -> Result<Binary, LoadError> {
    if bytes.starts_with(ELF) {
        return Err(LoadError::Precompiled);
    }
    let binary = if looks_like_text(&bytes) {
        match wat::parse_bytes(&bytes) {
            Ok(binary) => binary.into_owned(),
            Err(error) => return Err(LoadError::Text(printable(&error.to_string(), 500))),
        }
    } else {
        bytes
    };
    if !binary.starts_with(MAGIC) {
        let is_cut_off = !binary.is_empty() && MAGIC.starts_with(&binary);
        return Err(if is_cut_off {
            LoadError::Truncated(binary.len())
        } else {
            LoadError::NotWasm
        });
    }
    check_sections(&binary)?;
    Ok(if is_core_module(&binary) { Binary::Module(binary) } else { Binary::Component(binary) })
}

/// Walks over the sections of a binary. A file that was cut off ends in the middle of one.
fn check_sections(binary: &[u8]) -> Result<(), LoadError> {
    let truncated = || LoadError::Truncated(binary.len());
    let mut parser = Parser::new(0);
    let mut rest = binary;
    while !rest.is_empty() {
        // With `false` for "this is the end", the parser asks for more of a section that is
        // cut off.
        let (consumed, payload) = match parser.parse(rest, false) {
            Ok(Chunk::NeedMoreData(_)) => return Err(truncated()),
            Ok(Chunk::Parsed { consumed, payload }) => (consumed, payload),
            Err(error) => return Err(LoadError::Invalid(printable(&error.to_string(), 500))),
        };
        let nested = match payload {
            Payload::ModuleSection { unchecked_range, .. }
            | Payload::ComponentSection { unchecked_range, .. } => unchecked_range.len(),
            _ => 0,
        };
        rest = rest.get(consumed + nested..).ok_or_else(truncated)?;
    }
    Ok(())
}

/// Returns `true` if `bytes` begin, after white space, with a parenthesis or a comment.
fn looks_like_text(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    start.starts_with(b"(") || start.starts_with(b";;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> LoadError {
        to_binary(bytes.to_vec()).unwrap_err()
    }

    #[test]
    fn each_kind_of_wrong_file_has_its_own_error() {
        assert!(matches!(error(b""), LoadError::NotWasm));
        assert!(matches!(error(b"#!/bin/sh\n"), LoadError::NotWasm));
        assert!(matches!(error(b"\0as"), LoadError::Truncated(3)));
        assert!(matches!(error(b"\0asm\x0d\0\x01"), LoadError::Truncated(7)));
        assert!(matches!(error(b"\0asm\x02\0\0\0"), LoadError::Invalid(_)));
        assert!(matches!(error(b"\x7fELF\x02"), LoadError::Precompiled));
        assert!(matches!(error(b"(component"), LoadError::Text(_)));
        assert!(matches!(error(b";; \xff\n(component)"), LoadError::Text(_)));
    }

    #[test]
    fn a_component_that_is_cut_off_inside_a_section_is_truncated() {
        let Binary::Component(whole) =
            to_binary(b"(component (core module) (core module))".to_vec()).unwrap()
        else {
            panic!("it is no component")
        };
        let mut cuts = 0;
        for length in 8..whole.len() {
            match to_binary(whole[..length].to_vec()) {
                Ok(_) => {}
                Err(LoadError::Truncated(at)) => {
                    assert_eq!(at, length);
                    cuts += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(cuts > 10, "{cuts}");
        let long_number = b"\0asm\x0d\0\x01\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert!(matches!(error(long_number), LoadError::Invalid(_)));
    }

    #[test]
    fn the_text_and_the_binary_of_components_and_modules_are_accepted() {
        for text in ["(component)", "(module)"] {
            let binary = to_binary(text.into()).unwrap();
            let (Binary::Component(bytes) | Binary::Module(bytes)) = binary.clone();
            assert_eq!(matches!(binary, Binary::Module(_)), text == "(module)");
            assert_eq!(to_binary(bytes).unwrap(), binary);
        }
    }
}
