//! Untrusted text, made safe to print.

use std::fmt::Write;

use unicode_properties::{GeneralCategory as Category, UnicodeGeneralCategory};

/// The largest number of marks on one character. No orthography needs more, and a tall
/// stack of them covers the lines above and below.
const MAX_MARKS: usize = 4;

/// Returns `text` up to `limit` bytes, cut between characters, with escapes for
/// characters that could move a cursor, break a line or hide text. These are, by Unicode's
/// properties: control characters, characters without a glyph or with an empty one,
/// characters of private use or without a meaning yet, marks that change the direction of
/// writing, and combining marks that have no base character or are more than four on one.
/// The number of bytes that were cut is appended.
pub fn printable(text: &str, limit: usize) -> String {
    let kept = &text[..text.floor_char_boundary(limit)];
    let mut safe = String::with_capacity(kept.len());
    // The number of marks that the last character may still take.
    let mut marks_left = 0;
    for character in kept.chars() {
        let shown = match visibility(character) {
            Visibility::Plain => {
                marks_left = MAX_MARKS;
                true
            }
            Visibility::Mark if marks_left > 0 => {
                marks_left -= 1;
                true
            }
            Visibility::Mark | Visibility::Hidden => {
                marks_left = 0;
                false
            }
        };
        if shown {
            safe.push(character);
        } else {
            // `escape_default` would leave some of these as they are.
            match character {
                '\n' | '\r' | '\t' => safe.extend(character.escape_default()),
                _ => safe.extend(character.escape_unicode()),
            }
        }
    }
    if kept.len() < text.len() {
        // Writing to a String does not fail.
        let _ = write!(safe, "... ({} bytes more)", text.len() - kept.len());
    }
    safe
}

/// The way in which a terminal shows a character.
enum Visibility {
    Plain,
    /// Drawn over the character before it.
    Mark,
    Hidden,
}

fn visibility(character: char) -> Visibility {
    match character {
        ' '..='~' => return Visibility::Plain,
        _ if is_blank(character) => return Visibility::Hidden,
        _ => {}
    }
    match character.general_category() {
        Category::Control
        | Category::Format
        | Category::PrivateUse
        | Category::Surrogate
        | Category::Unassigned
        | Category::LineSeparator
        | Category::ParagraphSeparator
        | Category::SpaceSeparator => Visibility::Hidden,
        Category::NonspacingMark | Category::EnclosingMark => Visibility::Mark,
        _ => Visibility::Plain,
    }
}

/// Returns true for letters, marks and symbols that show nothing: those that Unicode
/// allows programs to ignore (`Default_Ignorable_Code_Point`) and whose category does not
/// say so, and those with an empty glyph.
fn is_blank(character: char) -> bool {
    matches!(character,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{13441}'
        | '\u{13442}' | '\u{16fe4}' | '\u{1d159}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    fn escaped(character: char) -> bool {
        let text = format!("a{character}");
        printable(&text, 100) != text
    }

    #[test]
    fn characters_that_control_a_terminal_are_escaped() {
        assert_eq!(
            printable("a\x1b[2Jb\r\nc\u{9b}d\u{202e}e", 100),
            r"a\u{1b}[2Jb\r\nc\u{9b}d\u{202e}e"
        );
        assert_eq!(printable("a\u{61c}b\u{2060}c\u{e0041}", 100), r"a\u{61c}b\u{2060}c\u{e0041}");
        assert_eq!(printable("中文 é", 100), "中文 é");
    }

    #[test]
    fn invisible_characters_are_escaped() {
        for character in [
            '\u{3164}',
            '\u{115f}',
            '\u{1160}',
            '\u{ffa0}',
            '\u{2800}',
            '\u{fe0f}',
            '\u{e0100}',
            '\u{fff9}',
            '\u{fff0}',
            '\u{17b4}',
            '\u{17b5}',
            '\u{34f}',
            '\u{180b}',
            '\u{1d173}',
            '\u{e000}',
            '\u{f8ff}',
            '\u{f0000}',
            '\u{10fffd}',
            '\u{378}',
            '\u{ffff}',
            '\u{a0}',
            '\u{3000}',
            '\u{2028}',
            '\u{2029}',
            '\u{ad}',
            '\u{feff}',
            '\u{200b}',
            '\u{13441}',
            '\u{1d159}',
            '\u{16fe4}',
        ] {
            let number = u32::from(character);
            assert_eq!(printable(&character.to_string(), 100), format!("\\u{{{number:x}}}"));
        }
        for character in "aé中文ßÅאعहाก한あ€→☃😀\u{fffd}".chars() {
            assert!(!escaped(character), "{character}");
        }
    }

    /// Compares with other tables: those of the standard library, and those lists of
    /// Unicode (17.0) that do not grow or that no character leaves.
    #[test]
    fn characters_in_unicode_s_lists_of_invisible_ones_are_escaped() {
        #[rustfmt::skip]
        let lists = [
            // Default_Ignorable_Code_Point.
            0xad..=0xad, 0x34f..=0x34f, 0x61c..=0x61c, 0x115f..=0x1160, 0x17b4..=0x17b5,
            0x180b..=0x180f, 0x200b..=0x200f, 0x202a..=0x202e, 0x2060..=0x206f, 0x3164..=0x3164,
            0xfe00..=0xfe0f, 0xfeff..=0xfeff, 0xffa0..=0xffa0, 0xfff0..=0xfff8,
            0x1bca0..=0x1bca3, 0x1d173..=0x1d17a, 0xe0000..=0xe0fff,
            // Format, beside these.
            0x600..=0x605, 0x6dd..=0x6dd, 0x70f..=0x70f, 0x890..=0x891, 0x8e2..=0x8e2,
            0xfff9..=0xfffb, 0x110bd..=0x110bd, 0x110cd..=0x110cd, 0x13430..=0x1343f,
            // Private use.
            0xe000..=0xf8ff, 0xf_0000..=0xf_ffff, 0x10_0000..=0x10_ffff,
            // Noncharacters.
            0xfdd0..=0xfdef, 0xfffe..=0xffff, 0x1fffe..=0x1ffff, 0xe_fffe..=0xe_ffff,
        ];
        let listed = lists.into_iter().flatten().filter_map(char::from_u32);
        let of_std = ('\u{0}'..=char::MAX)
            .filter(|character| character.is_control() || character.is_whitespace())
            .filter(|character| *character != ' ');
        for character in listed.chain(of_std) {
            assert!(escaped(character), "{}", character.escape_unicode());
        }
    }

    #[test]
    fn marks_need_a_base_character_and_their_number_is_limited() {
        assert_eq!(printable("e\u{301}x", 100), "e\u{301}x");
        assert_eq!(printable("e\u{301}\u{301}\u{301}\u{301}", 100).chars().count(), 5);
        assert_eq!(
            printable(&("e".to_owned() + &"\u{301}".repeat(6)), 100),
            "e\u{301}\u{301}\u{301}\u{301}\\u{301}\\u{301}"
        );
        // A mark must not be drawn over a character before the text.
        assert_eq!(printable("\u{338}a", 100), r"\u{338}a");
        assert_eq!(printable("\u{200b}\u{338}", 100), r"\u{200b}\u{338}");
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(printable("中文", 4), "中... (3 bytes more)");
        assert_eq!(printable("", 0), "");
    }
}
