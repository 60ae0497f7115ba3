//! The text that refused clients receive.

use std::time::Duration;

use crate::address::SocketType;
use crate::request::Request;

/// The longest banner, in bytes.
pub const MAX_BANNER: usize = 1024;

/// The size of one read of the data that a refused client has sent, in bytes.
const DRAIN_SIZE: usize = 4096;
/// The largest number of these reads.
const MAX_DRAINS: usize = 16;

/// Sends as much of a banner as is possible without waiting to a client that is about to
/// be refused.
///
/// Reads the data that the client has sent first. Closing a socket with unread
/// data resets the connection, and the reset may overtake the banner.
pub(super) fn send(banner: &[u8], request: &Request) {
    if banner.is_empty() || request.socket_type() != SocketType::Stream {
        return;
    }
    request.settimeout(Some(Duration::ZERO));
    let mut drained = [0; DRAIN_SIZE];
    for _ in 0..MAX_DRAINS {
        if !request.recv_into(&mut drained).is_ok_and(|count| count == drained.len()) {
            break;
        }
    }
    // The client may have gone.
    let _ = request.send(banner);
}

/// Parses the text of a banner: at most 1024 bytes, with the escapes `\n`, `\r`, `\t`,
/// `\\` and `\xHH`.
///
/// # Errors
///
/// The text is empty or too long, or an escape is wrong. The error is a sentence that
/// says what to write.
pub fn banner(text: &str) -> Result<Vec<u8>, String> {
    let mut banner = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        banner.extend_from_slice(plain.as_bytes());
        let mut characters = escape.chars();
        banner.push(match characters.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('\\') => b'\\',
            Some('x') => {
                let digits = characters
                    .as_str()
                    .get(..2)
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                characters.nth(1);
                digits
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                    .ok_or("write two hexadecimal digits after \\x")?
            }
            _ => return Err("after a \\ write n, r, t, \\ or xHH".to_owned()),
        });
        rest = characters.as_str();
    }
    banner.extend_from_slice(rest.as_bytes());
    match banner.len() {
        0 => Err("write the text that refused clients receive".to_owned()),
        1..=MAX_BANNER => Ok(banner),
        more => Err(format!("that is {more} bytes, and at most {MAX_BANNER} are sent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_bytes() {
        for (text, bytes) in [
            ("go away", &b"go away"[..]),
            (r"a\r\nb\t\\n", b"a\r\nb\t\\n"),
            (r"\x00\xfF\x5cn", b"\0\xff\\n"),
            ("é", "é".as_bytes()),
        ] {
            assert_eq!(banner(text).unwrap(), bytes, "{text}");
        }
        assert_eq!(banner(&"x".repeat(1024)).unwrap().len(), 1024);
        assert_eq!(banner(&r"\n".repeat(1024)).unwrap().len(), 1024);
    }

    #[test]
    fn wrong_escapes_and_lengths_are_errors() {
        for wrong in ["", r"\", r"\q", r"\x", r"\x1", r"\x+1", r"\xé", r"\x1é", &"x".repeat(1025)]
        {
            assert!(banner(wrong).is_err(), "{wrong}");
        }
    }
}
