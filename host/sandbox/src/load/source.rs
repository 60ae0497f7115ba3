//! From a file to the bytes of a component.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::LoadError;
use socketserver::printable;

/// The first four bytes of every WebAssembly binary.
const MAGIC: &[u8] = b"\0asm";
/// The next four of a core module, and of a component.
const MODULE: &[u8] = &[1, 0, 0, 0];
const COMPONENT: &[u8] = &[13, 0, 1, 0];
/// The first four bytes of a precompiled artifact, which is an ELF file.
const ELF: &[u8] = b"\x7fELF";

/// Reads a file, if it is no larger than `limit` bytes, for
/// [`Component::new`](crate::Component::new).
///
/// Errors: it is larger, or cannot be read.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    // Opening a pipe would wait until somebody writes to it.
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
    let metadata = file.metadata()?;
    // Reading a directory has an error of its own.
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(LoadError::NotAFile);
    }
    let too_large = |size| LoadError::TooLarge { size, limit };
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    // It may grow while it is read.
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Makes a component binary of what is one, or is the text of one.
///
/// Only the header is looked at, besides parsing text: whether the rest is
/// valid shows when it is compiled.
pub(crate) fn component(bytes: Vec<u8>) -> Result<Vec<u8>, LoadError> {
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
    let Some((magic, version)) = binary.split_at_checked(4) else {
        let truncated = !binary.is_empty() && MAGIC.starts_with(&binary);
        return Err(if truncated {
            LoadError::Truncated(binary.len())
        } else {
            LoadError::NotWasm
        });
    };
    if magic != MAGIC {
        return Err(LoadError::NotWasm);
    }
    if version.len() < 4 {
        return Err(LoadError::Truncated(binary.len()));
    }
    if version.starts_with(MODULE) {
        return Err(LoadError::CoreModule);
    }
    if !version.starts_with(COMPONENT) {
        return Err(LoadError::Invalid(
            "a version of the format that is not known here".to_owned(),
        ));
    }
    check_whole(&binary)?;
    Ok(binary)
}

/// Walks over the sections of a component: each begins with what it is and how
/// long it is. A file that was cut ends in the middle of one.
fn check_whole(binary: &[u8]) -> Result<(), LoadError> {
    let mut rest = &binary[8..];
    while let [_kind, after_kind @ ..] = rest {
        let (length, body) = leb128(after_kind).ok_or(LoadError::Truncated(binary.len()))?;
        rest = usize::try_from(length)
            .ok()
            .and_then(|length| body.get(length..))
            .ok_or(LoadError::Truncated(binary.len()))?;
    }
    Ok(())
}

/// A number as WebAssembly writes it, and what follows it; none if it does not
/// end. Whether it is too large shows later.
fn leb128(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let last = bytes.iter().take(9).position(|byte| byte & 0x80 == 0)?;
    let (number, rest) = bytes.split_at(last + 1);
    let value = number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, rest))
}

/// Text begins, after white space, with a parenthesis or a comment.
fn looks_like_text(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    start.starts_with(b"(") || start.starts_with(b";;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> LoadError {
        component(bytes.to_vec()).unwrap_err()
    }

    #[test]
    fn each_kind_of_wrong_file_has_its_own_error() {
        assert!(matches!(error(b""), LoadError::NotWasm));
        assert!(matches!(error(b"#!/bin/sh\n"), LoadError::NotWasm));
        assert!(matches!(error(b"\0as"), LoadError::Truncated(3)));
        assert!(matches!(error(b"\0asm\x0d\0\x01"), LoadError::Truncated(7)));
        assert!(matches!(error(b"\0asm\x01\0\0\0"), LoadError::CoreModule));
        assert!(matches!(error(b"\0asm\x02\0\0\0"), LoadError::Invalid(_)));
        assert!(matches!(error(b"\x7fELF\x02"), LoadError::Precompiled));
        assert!(matches!(error(b" (module)"), LoadError::CoreModule));
        assert!(matches!(error(b"(component"), LoadError::Text(_)));
        assert!(matches!(error(b";; \xff\n(component)"), LoadError::Text(_)));
    }

    #[test]
    fn a_component_cut_anywhere_but_between_sections_is_truncated() {
        let whole = component(b"(component (core module) (core module))".to_vec()).unwrap();
        let mut cuts = 0;
        for length in 8..whole.len() {
            match component(whole[..length].to_vec()) {
                Ok(_) => {}
                Err(LoadError::Truncated(at)) => {
                    assert_eq!(at, length);
                    cuts += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(cuts > 10, "{cuts}");
        assert!(matches!(
            error(b"\0asm\x0d\0\x01\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            LoadError::Truncated(_)
        ));
    }

    #[test]
    fn text_and_binary_of_a_component_pass() {
        let binary = component(b"(component)".to_vec()).unwrap();
        assert_eq!(component(binary.clone()).unwrap(), binary);
    }
}
