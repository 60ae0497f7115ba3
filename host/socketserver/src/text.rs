//! Text that somebody else wrote, made safe to print.

use std::fmt::Write;

/// Cuts `text` after `limit` bytes, between characters, and escapes what could
/// move a cursor, break a line or hide text: control characters, characters that
/// nobody sees, and the marks that turn the direction of writing. What is cut off
/// is counted.
pub fn printable(text: &str, limit: usize) -> String {
    let kept = &text[..text.floor_char_boundary(limit)];
    let mut safe = String::with_capacity(kept.len());
    for character in kept.chars() {
        if character.is_control() || hides(character) {
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

fn hides(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
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
        assert_eq!(printable("a\u{61c}b\u{2060}c\u{e0041}", 100), r"a\u{61c}b\u{2060}c\u{e0041}");
        assert_eq!(printable("中文 é", 100), "中文 é");
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(printable("中文", 4), "中... (3 bytes more)");
        assert_eq!(printable("", 0), "");
    }
}
