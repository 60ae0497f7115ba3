//! What the fuzz targets have in common. Each is a file in `targets/`, and
//! `run` builds and runs them.

use std::fmt::Display;

/// The longest message there is, in bytes: what it quotes is cut before it is
/// escaped, and escaping makes it several times as long.
const LONGEST: usize = 4096;

/// Holds an error to what every message of the host is: a sentence of one line,
/// in which nothing moves a cursor, hides text or turns its direction, however
/// the input looks that it quotes.
///
/// Panics: it is not.
pub fn check_message(error: impl Display) {
    let message = error.to_string();
    assert!(!message.trim().is_empty(), "an error without a message");
    assert!(message.len() <= LONGEST, "a message of {} bytes: {message:?}", message.len());
    assert!(message.chars().all(is_printable), "not printable: {message:?}");
}

/// Whether a terminal shows the character, and does nothing else.
pub fn is_printable(character: char) -> bool {
    // The marks that turn the direction of writing, the spaces without width, letters and
    // symbols with nothing to see, and those of private use.
    let hides = matches!(character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{fff0}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}');
    !character.is_control() && !hides
}
