//! The answer of the process that compiles: it is code only if it is complete, and otherwise an
//! error, whatever the bytes are.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use socketserver_fuzz::check_message;

// Items that `wire` uses from its own crate.
mod error {
    pub use socketserver_sandbox::LoadError;
}

#[path = "../../../host/sandbox/src/load/wire.rs"]
#[allow(dead_code, reason = "only what reads is fuzzed")]
mod wire;

const LIMIT: u64 = 10_000;

/// Any bytes, or an answer that may have a false kind or length, or be cut.
#[derive(Arbitrary, Debug)]
enum Written<'a> {
    Bytes(&'a [u8]),
    Answer { what: u8, other_length: Option<u64>, cut: u8, content: &'a [u8] },
}

fuzz_target!(|written: Written<'_>| {
    let bytes = written.bytes();
    match wire::read_result(bytes.as_slice(), LIMIT) {
        Ok(Ok(code)) => {
            assert!(code.len() as u64 <= LIMIT);
            assert!(bytes.ends_with(&code) && bytes.len() == code.len() + 57, "{written:?}");
        }
        Ok(Err(error)) => check_message(error),
        Err(error) => check_message(error),
    }
});

impl Written<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Written::Bytes(bytes) => bytes.to_vec(),
            Written::Answer { what, other_length, cut, content } => {
                let length = other_length.unwrap_or(content.len() as u64).to_le_bytes();
                let digest = Sha256::digest(content);
                let header = b"wasm-socketcode\n".as_slice();
                let mut bytes = [header, &[*what], &length, &digest, content].concat();
                bytes.truncate(bytes.len().saturating_sub(usize::from(*cut)));
                bytes
            }
        }
    }
}
