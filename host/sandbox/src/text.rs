//! Text that a guest wrote, made safe to print.

use std::fmt::Write;

/// Cuts `text` after `limit` bytes and escapes what could move a cursor, break
/// a line or hide text: control characters, and the marks that turn the
/// direction of writing.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let kept = &text[..text.floor_char_boundary(limit)];
    let mut safe = String::with_capacity(kept.len());
    for character in kept.chars() {
        let hides = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if character.is_control() || hides {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    if kept.len() < text.len() {
        // Writing to a String does not fail.
        let _ = write!(safe, "... ({} bytes more)", text.len() - kept.len());
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        assert_eq!(
            printable("a\x1b[2Jb\r\nc\u{9b}d\u{202e}e", 100),
            r"a\u{1b}[2Jb\r\nc\u{9b}d\u{202e}e"
        );
        assert_eq!(printable("中文 é", 100), "中文 é");
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(printable("中文", 4), "中... (3 bytes more)");
        assert_eq!(printable("", 0), "");
    }
}
