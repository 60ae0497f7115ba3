//! Directories for handlers.

use socketserver::printable;
use socketserver_sandbox::Dir;

/// The longest path, in bytes: `PATH_MAX` of Linux.
const LONGEST: usize = 4096;
/// The number of bytes of a wrong word that an error quotes.
const LONGEST_SHOWN: usize = 100;

/// Parses `HOST::GUEST`, or `HOST::GUEST:ro` for a directory that the handler only reads.
/// The path before the first `::` is the host's.
///
/// # Errors
///
/// A part is missing, is longer than 4096 bytes, or has a zero byte in it; or another word
/// stands in place of `:ro`. A directory that does not exist is an error only when it is
/// opened.
pub fn parse(text: &str) -> Result<Dir, String> {
    if text.contains('\0') {
        return Err("a path must not have a zero byte in it".to_owned());
    }
    let (host, guest) = text
        .split_once("::")
        .ok_or("write HOST::GUEST, such as /srv/data::/data, or HOST::GUEST:ro")?;
    let (guest, writable) = match guest.split_once(':') {
        None => (guest, true),
        Some((guest, "ro")) => (guest, false),
        Some((_, other)) => {
            let other = printable(other, LONGEST_SHOWN);
            return Err(format!("`:{other}` is not an access mode: the only one is `:ro`"));
        }
    };
    if host.is_empty() || guest.is_empty() {
        return Err("neither HOST nor GUEST may be empty: write . for this directory".to_owned());
    }
    if host.len() > LONGEST || guest.len() > LONGEST {
        return Err(format!("a path has at most {LONGEST} bytes"));
    }
    Ok(Dir { host: host.into(), guest: guest.to_owned(), writable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_writable_without_ro() {
        let dir = |host: &str, guest: &str, writable| {
            Ok(Dir { host: host.into(), guest: guest.to_owned(), writable })
        };
        assert_eq!(parse("/srv/data::/data"), dir("/srv/data", "/data", true));
        assert_eq!(parse("/srv/data::/data:ro"), dir("/srv/data", "/data", false));
        assert_eq!(parse(".::."), dir(".", ".", true));
        assert_eq!(parse("/a:b::/c:ro"), dir("/a:b", "/c", false));
    }

    #[test]
    fn errors_say_what_to_write() {
        for (text, why) in [
            ("", "write HOST::GUEST"),
            ("/srv", "write HOST::GUEST"),
            ("/srv:/data", "write HOST::GUEST"),
            ("::/data", "may be empty"),
            ("/srv::", "may be empty"),
            ("/srv:::ro", "may be empty"),
            ("/srv::/data:rw", "the only one is `:ro`"),
            ("/srv::/data:ro:ro", "the only one is `:ro`"),
            ("/srv::/data:\x1b", r"`:\u{1b}` is not an access mode"),
            ("/a::b::/c", "the only one is `:ro`"),
            ("/srv\0::/data", "zero byte"),
            (&("/".repeat(LONGEST + 1) + "::/data"), "at most 4096"),
            (&("/srv::".to_owned() + &"/".repeat(LONGEST + 1)), "at most 4096"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
