//! What refused clients are told.

use std::time::Duration;

use crate::address::SocketType;
use crate::request::Request;

/// The most that a refused client is told, in bytes.
pub const MAX_BANNER: usize = 1024;

/// How much of what a refused client has sent is read, in bytes.
const DRAINED: [u8; 4096] = [0; 4096];
const TIMES: usize = 16;

/// Sends a banner to a client that is about to be refused, as far as that is
/// possible without waiting.
///
/// What the client has sent already is read first. Closing a socket with unread
/// data in it is a reset, which may overtake the banner.
pub(super) fn send(banner: &[u8], request: &Request) {
    if banner.is_empty() || request.socket_type() != SocketType::Stream {
        return;
    }
    request.settimeout(Some(Duration::ZERO));
    let mut drained = DRAINED;
    for _ in 0..TIMES {
        if !request.recv_into(&mut drained).is_ok_and(|count| count == drained.len()) {
            break;
        }
    }
    // A client that has gone hears nothing.
    let _ = request.send(banner);
}

/// Parses the text of a banner: at most 1024 bytes, with `\n`, `\r`, `\t`, `\\`
/// and `\xHH` for what is hard to type.
///
/// Errors: a sentence that says what is wrong with it.
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
        0 => Err("write what refused clients are told".to_owned()),
        1..=MAX_BANNER => Ok(banner),
        more => Err(format!("that is {more} bytes, and at most {MAX_BANNER} are sent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
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
    fn mistakes() {
        for wrong in ["", r"\", r"\q", r"\x", r"\x1", r"\x+1", r"\xé", r"\x1é", &"x".repeat(1025)]
        {
            assert!(banner(wrong).is_err(), "{wrong}");
        }
    }
}
