//! The digest of a component.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

/// The name of the algorithm, with which the text begins.
const PREFIX: &str = "sha256:";

impl Digest {
    /// Computes the digest of these bytes.
    pub fn compute(bytes: &[u8]) -> Self {
        Digest(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parses `sha256:` and 64 hexadecimal digits.
pub fn parse(text: &str) -> Result<Digest, String> {
    let wrong = || format!("write {PREFIX} and 64 hexadecimal digits, as sha256sum prints them");
    let digits = text.strip_prefix(PREFIX).ok_or_else(wrong)?;
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
    }
    Ok(Digest(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_prints_as_it_was_written() {
        let digest = Digest::compute(b"");
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(parse(text), Ok(digest));
        assert_eq!(parse(&text.to_uppercase().replace("SHA", "sha")), Ok(digest));
        for wrong in ["", "sha256:", &text[7..], &text[..70], &text.replace('e', "+"), "sha512:00"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
