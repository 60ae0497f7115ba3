//! What a process that compiles tells the one that asked: code, or an error.
//!
//! A header, what it is, how long it is, its digest, and itself: an answer that
//! ends early, or that something else was written into, is none.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use crate::error::LoadError;
use socketserver::printable;

const HEADER: &[u8; 16] = b"wasm-socketcode\n";
const DIGEST: usize = 32;

const CODE: u8 = 0;
const PRECOMPILED: u8 = 1;
const NOT_WASM: u8 = 2;
const CORE_MODULE: u8 = 3;
const TRUNCATED: u8 = 4;
const TEXT: u8 = 5;
const INVALID: u8 = 6;

/// The longest text of an error, in bytes.
const MAX_ERROR: u64 = 4096;
/// How much of it is shown, in bytes.
const MAX_TEXT: usize = 600;

/// Writes one.
pub(crate) fn write(mut to: impl Write, answer: &Result<&[u8], &LoadError>) -> io::Result<()> {
    let text;
    let (what, content) = match answer {
        Ok(code) => (CODE, *code),
        Err(LoadError::Precompiled) => (PRECOMPILED, [].as_slice()),
        Err(LoadError::NotWasm) => (NOT_WASM, [].as_slice()),
        Err(LoadError::CoreModule) => (CORE_MODULE, [].as_slice()),
        Err(LoadError::Truncated(at)) => {
            text = at.to_string();
            (TRUNCATED, text.as_bytes())
        }
        Err(LoadError::Text(why)) => (TEXT, why.as_bytes()),
        Err(LoadError::Invalid(why)) => (INVALID, why.as_bytes()),
        Err(other) => {
            text = other.to_string();
            (INVALID, text.as_bytes())
        }
    };
    let length = (content.len() as u64).to_le_bytes();
    for part in [HEADER.as_slice(), &[what], &length, &Sha256::digest(content), content] {
        to.write_all(part)?;
    }
    to.flush()
}

/// Reads one, with at most `limit` bytes of code.
///
/// Errors: it is none, or ends early; reading fails.
pub(crate) fn read(mut from: impl Read, limit: u64) -> io::Result<Result<Vec<u8>, LoadError>> {
    let mut header = [0; HEADER.len()];
    let (mut what, mut length, mut digest) = ([0; 1], [0; 8], [0; DIGEST]);
    from.read_exact(&mut header)?;
    if header != *HEADER {
        return Err(none("it does not begin like an answer"));
    }
    from.read_exact(&mut what)?;
    from.read_exact(&mut length)?;
    from.read_exact(&mut digest)?;
    let [what] = what;
    let length = u64::from_le_bytes(length);
    if length > if what == CODE { limit } else { MAX_ERROR } {
        return Err(none("it is too long"));
    }
    let mut content = Vec::new();
    let capacity = usize::try_from(length).map_err(|_| none("it is too long"))?;
    content.try_reserve_exact(capacity).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // One byte more shows whether something follows.
    from.take(length + 1).read_to_end(&mut content)?;
    if (content.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if content.len() as u64 > length || Sha256::digest(&content).as_slice() != digest {
        return Err(none("it is damaged"));
    }
    // Whoever has taken over the process that compiles writes what it likes.
    let text = || printable(&String::from_utf8_lossy(&content), MAX_TEXT);
    Ok(match what {
        CODE => Ok(content),
        PRECOMPILED => Err(LoadError::Precompiled),
        NOT_WASM => Err(LoadError::NotWasm),
        CORE_MODULE => Err(LoadError::CoreModule),
        TRUNCATED => Err(LoadError::Truncated(text().parse().map_err(|_| none("no number"))?)),
        TEXT => Err(LoadError::Text(text())),
        INVALID => Err(LoadError::Invalid(text())),
        _ => return Err(none("it is of no known kind")),
    })
}

fn none(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(answer: &Result<&[u8], &LoadError>) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, answer).unwrap();
        bytes
    }

    #[test]
    fn each_answer_comes_back() {
        assert_eq!(read(&written(&Ok(b"code".as_slice()))[..], 4).unwrap().unwrap(), b"code");
        for error in [
            LoadError::Precompiled,
            LoadError::NotWasm,
            LoadError::CoreModule,
            LoadError::Truncated(77),
            LoadError::Text("here".to_owned()),
            LoadError::Invalid("there".to_owned()),
        ] {
            let said = error.to_string();
            let back = read(&written(&Err(&error))[..], 0).unwrap().unwrap_err();
            assert_eq!(back.to_string(), said);
        }
    }

    #[test]
    fn errors_say_nothing_that_a_terminal_obeys() {
        for error in [LoadError::Text("a\x1b[2J\n".repeat(9)), LoadError::Invalid("\r".to_owned())]
        {
            let back = read(&written(&Err(&error))[..], 0).unwrap().unwrap_err().to_string();
            assert!(back.contains('\\') && !back.contains(char::is_control), "{back:?}");
        }
    }

    #[test]
    fn what_is_cut_damaged_too_long_or_followed_by_noise_is_no_answer() {
        let whole = written(&Ok(b"code".as_slice()));
        for length in 0..whole.len() {
            assert!(read(&whole[..length], 4).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let read = read(&damaged[..], 4);
            // A bit of what it is makes an error of the code, which harms nobody.
            assert!(!matches!(read, Ok(Ok(_))), "{at}");
        }
        assert!(read(&whole[..], 3).is_err());
        assert!(read(&[whole, b"!".to_vec()].concat()[..], 4).is_err());
    }
}
