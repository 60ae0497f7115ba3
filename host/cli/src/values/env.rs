//! Environment variables for handlers.

use socketserver::printable;

/// The longest name and the longest value, in bytes.
const LONGEST: usize = 64 << 10;
/// The number of bytes of a name that an error quotes.
const LONGEST_SHOWN: usize = 100;

/// Parses `NAME=VALUE`, or `NAME` for the value in the environment of this process.
///
/// # Errors
///
/// There is no name, or no such variable; the name or the value is longer than 64 KiB or has
/// a zero byte in it; or the value is not UTF-8.
pub fn parse(text: &str) -> Result<(String, String), String> {
    parse_with(text, |name| std::env::var_os(name))
}

fn parse_with(
    text: &str,
    variable: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<(String, String), String> {
    if text.contains('\0') {
        return Err("a variable must not have a zero byte in it".to_owned());
    }
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(
            "write NAME=VALUE, or NAME for the value in the environment of the server".to_owned()
        );
    }
    if name.len() > LONGEST {
        return Err(format!("a name has at most {LONGEST} bytes"));
    }
    let value = match value {
        Some(value) => value,
        None => variable(name)
            .ok_or_else(|| {
                format!(
                    "the server's environment has no such variable: write {}=VALUE",
                    printable(name, LONGEST_SHOWN)
                )
            })?
            .into_string()
            .map_err(|_| "its value in the environment of the server is not UTF-8".to_owned())?,
    };
    if value.len() > LONGEST {
        return Err(format!("a value has at most {LONGEST} bytes"));
    }
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn parse(text: &str) -> Result<(String, String), String> {
        parse_with(text, |name| match name {
            "HERE" => Some("value".into()),
            "BINARY" => Some(OsString::from_vec(vec![0xff])),
            "LONG" => Some("x".repeat(LONGEST + 1).into()),
            _ => None,
        })
    }

    #[test]
    fn a_value_is_given_or_taken_from_the_environment() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(parse("A=b"), pair("A", "b"));
        assert_eq!(parse("A="), pair("A", ""));
        assert_eq!(parse("A=b=c"), pair("A", "b=c"));
        assert_eq!(parse("HERE"), pair("HERE", "value"));
        assert_eq!(parse("HERE=other"), pair("HERE", "other"));
    }

    #[test]
    fn errors_say_what_to_write() {
        for (text, why) in [
            ("", "write NAME=VALUE"),
            ("=b", "write NAME=VALUE"),
            ("A\0=b", "zero byte"),
            ("MISSING", "no such variable: write MISSING=VALUE"),
            ("A\nB", r"write A\nB=VALUE"),
            (&"A".repeat(1000), "(900 bytes more)=VALUE"),
            ("BINARY", "not UTF-8"),
            ("LONG", "at most 65536"),
            (&("A".repeat(LONGEST + 1) + "=b"), "at most 65536"),
            (&("A=".to_owned() + &"b".repeat(LONGEST + 1)), "at most 65536"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
