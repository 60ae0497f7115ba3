//! The wire format of a compiler process's result: code, or an error.
//!
//! A message consists of a header, a kind, a length, a digest and a content. A message that
//! ends early, or that other output was mixed into, is refused.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use socketserver::printable;

use crate::error::LoadError;

const HEADER: &[u8; 16] = b"wasm-socketcode\n";
const DIGEST: usize = 32;

const CODE: u8 = 0;
const PRECOMPILED: u8 = 1;
const NOT_WASM: u8 = 2;
const CORE_MODULE: u8 = 3;
const TRUNCATED: u8 = 4;
const TEXT: u8 = 5;
const INVALID: u8 = 6;
const MODULE: u8 = 7;

/// The longest text of an error, in bytes.
const MAX_ERROR: u64 = 4096;
/// The part of it that is shown, in bytes.
const MAX_SHOWN: usize = 600;

/// Writes the result of a compilation.
///
/// # Errors
///
/// Writing fails.
pub(crate) fn write_result(
    mut to: impl Write,
    result: &Result<&[u8], &LoadError>,
) -> io::Result<()> {
    let text;
    let (kind, content) = match result {
        Ok(code) => (CODE, *code),
        Err(LoadError::Precompiled) => (PRECOMPILED, [].as_slice()),
        Err(LoadError::NotWasm) => (NOT_WASM, [].as_slice()),
        Err(LoadError::CoreModule) => (CORE_MODULE, [].as_slice()),
        Err(LoadError::Truncated(length)) => {
            text = length.to_string();
            (TRUNCATED, text.as_bytes())
        }
        Err(LoadError::Text(why)) => (TEXT, why.as_bytes()),
        Err(LoadError::Invalid(why)) => (INVALID, why.as_bytes()),
        Err(LoadError::Module(why)) => (MODULE, why.as_bytes()),
        Err(other) => {
            text = other.to_string();
            (INVALID, text.as_bytes())
        }
    };
    let length = (content.len() as u64).to_le_bytes();
    for part in [HEADER.as_slice(), &[kind], &length, &Sha256::digest(content), content] {
        to.write_all(part)?;
    }
    to.flush()
}

/// Reads the result of a compilation, with at most `limit` bytes of code.
///
/// # Errors
///
/// Reading fails, or the message is not valid or ends early.
pub(crate) fn read_result(
    mut from: impl Read,
    limit: u64,
) -> io::Result<Result<Vec<u8>, LoadError>> {
    let mut header = [0; HEADER.len()];
    let (mut kind, mut length, mut digest) = ([0; 1], [0; 8], [0; DIGEST]);
    from.read_exact(&mut header)?;
    if header != *HEADER {
        return Err(invalid("it has no header"));
    }
    from.read_exact(&mut kind)?;
    from.read_exact(&mut length)?;
    from.read_exact(&mut digest)?;
    let [kind] = kind;
    let length = u64::from_le_bytes(length);
    if length > if kind == CODE { limit } else { MAX_ERROR } {
        return Err(invalid("it is too long"));
    }
    let mut content = Vec::new();
    let capacity = usize::try_from(length).map_err(|_| invalid("it is too long"))?;
    content.try_reserve_exact(capacity).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // One byte more shows if something follows.
    from.take(length + 1).read_to_end(&mut content)?;
    if (content.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if content.len() as u64 > length || Sha256::digest(&content).as_slice() != digest {
        return Err(invalid("it is damaged"));
    }
    // An attacker who has taken over the compiler process can send any text.
    let text = || printable(&String::from_utf8_lossy(&content), MAX_SHOWN);
    Ok(match kind {
        CODE => Ok(content),
        PRECOMPILED => Err(LoadError::Precompiled),
        NOT_WASM => Err(LoadError::NotWasm),
        CORE_MODULE => Err(LoadError::CoreModule),
        TRUNCATED => {
            let length = text().parse().map_err(|_| invalid("it has no number"))?;
            Err(LoadError::Truncated(length))
        }
        TEXT => Err(LoadError::Text(text())),
        INVALID => Err(LoadError::Invalid(text())),
        MODULE => Err(LoadError::Module(text())),
        _ => return Err(invalid("its kind is not known")),
    })
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: &Result<&[u8], &LoadError>) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_result(&mut bytes, result).unwrap();
        bytes
    }

    #[test]
    fn each_result_is_read_as_it_was_written() {
        assert_eq!(
            read_result(&message(&Ok(b"code".as_slice()))[..], 4).unwrap().unwrap(),
            b"code"
        );
        for error in [
            LoadError::Precompiled,
            LoadError::NotWasm,
            LoadError::CoreModule,
            LoadError::Truncated(77),
            LoadError::Text("here".to_owned()),
            LoadError::Invalid("there".to_owned()),
            LoadError::Module("no".to_owned()),
        ] {
            let text = error.to_string();
            let back = read_result(&message(&Err(&error))[..], 0).unwrap().unwrap_err();
            assert_eq!(back.to_string(), text);
        }
    }

    #[test]
    fn control_characters_in_errors_are_escaped() {
        for error in [LoadError::Text("a\x1b[2J\n".repeat(9)), LoadError::Invalid("\r".to_owned())]
        {
            let back = read_result(&message(&Err(&error))[..], 0).unwrap().unwrap_err().to_string();
            assert!(back.contains('\\') && !back.contains(char::is_control), "{back:?}");
        }
    }

    #[test]
    fn a_message_that_is_cut_off_damaged_too_long_or_followed_by_more_is_refused() {
        let whole = message(&Ok(b"code".as_slice()));
        for length in 0..whole.len() {
            assert!(read_result(&whole[..length], 4).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let read = read_result(&damaged[..], 4);
            // With another kind the code becomes the text of an error, which does no harm.
            assert!(!matches!(read, Ok(Ok(_))), "{at}");
        }
        assert!(read_result(&whole[..], 3).is_err());
        assert!(read_result(&[whole, b"!".to_vec()].concat()[..], 4).is_err());
    }
}
