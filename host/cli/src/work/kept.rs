//! The beginning and the end of what a program prints.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};

use anyhow::Result;
use socketserver::printable;

/// The bytes that are kept of the beginning, and as many of the end. The errors of a compiler are
/// rarely longer.
const MAX: usize = 64 << 10;
/// The longest line that is shown, in bytes.
const MAX_LINE: usize = 4 << 10;

/// The beginning and the end of an output, whatever its length.
#[derive(Default)]
pub struct Kept {
    begin: Vec<u8>,
    end: VecDeque<u8>,
    left_out: u64,
}

impl Kept {
    /// Reads what there is. Stops after some time even if there is more. Returns false if nothing
    /// more will come.
    ///
    /// # Errors
    ///
    /// The pipe cannot be read.
    pub fn read(&mut self, mut from: impl Read) -> Result<bool> {
        let mut buffer = [0; 16 << 10];
        // As much as several pipes hold.
        for _ in 0..256 {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => self.add(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn add(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(MAX - self.begin.len()));
        self.begin.extend_from_slice(first);
        self.end.extend(rest);
        let too_many = self.end.len().saturating_sub(MAX);
        self.end.drain(..too_many);
        self.left_out += too_many as u64;
    }

    /// Returns the output as text for a terminal.
    pub fn text(&self) -> String {
        let end: Vec<u8> = self.end.iter().copied().collect();
        if self.left_out == 0 {
            return shown(&[&self.begin[..], &end].concat());
        }
        let middle = format!("... {} bytes are left out here ...", self.left_out);
        [shown(&self.begin), middle, shown(&end)].join("\n")
    }
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    // Compilers indent with tabs.
    let lines = text.lines().map(|line| printable(&line.replace('\t', "    "), MAX_LINE));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_of_a_long_output_are_kept() {
        let mut kept = Kept::default();
        let line = "0123456789\n".repeat(100_000);
        let text = format!("first\n{line}last\n");
        assert!(!kept.read(text.as_bytes()).unwrap());
        let shown = kept.text();
        assert!(shown.starts_with("first\n0123456789\n") && shown.ends_with("0123456789\nlast"));
        let left_out = text.len() - 2 * MAX;
        assert!(
            shown.contains(&format!("... {left_out} bytes are left out here ...")),
            "{left_out}"
        );
        assert!(shown.len() < 3 * MAX);
    }

    #[test]
    fn a_short_output_is_kept_whole_and_its_escapes_are_not() {
        let mut kept = Kept::default();
        kept.read(&b"a\tb\n\n\x1b[31mred\xff"[..]).unwrap();
        assert_eq!(kept.text(), "a    b\n\n\\u{1b}[31mred\u{fffd}");
    }
}
