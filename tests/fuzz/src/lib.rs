//! Checks that the fuzz targets share. Each target is a file in `targets/`, and `run` builds and
//! runs them.

use std::fmt::Display;

/// The length of the longest message, in bytes. Quoted input is cut before it is escaped, and
/// escapes make it several times as long.
const LONGEST: usize = 4096;

/// Checks that an error is a message as the host prints it: one line, in which no character
/// moves the cursor, hides text or changes its direction, whatever input it quotes.
///
/// # Panics
///
/// The message is empty, too long or not printable.
pub fn check_message(error: impl Display) {
    let message = error.to_string();
    assert!(!message.trim().is_empty(), "an error without a message");
    assert!(message.len() <= LONGEST, "a message of {} bytes: {message:?}", message.len());
    assert!(message.chars().all(is_printable), "not printable: {message:?}");
}

/// Returns whether a terminal shows the character and does nothing else.
pub fn is_printable(character: char) -> bool {
    // Marks that change the direction of text, spaces without width, invisible letters and
    // symbols, and characters for private use.
    let hides = matches!(character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{fff0}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}');
    !character.is_control() && !hides
}
