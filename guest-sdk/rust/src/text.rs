/// Returns `data` without the white space at both ends. Python's `bytes.strip()`.
///
/// White space in bytes is, as in Python, the space, `\t`, `\n`, `\r`, the vertical tab
/// and the form feed. [`slice::trim_ascii`] does not remove the vertical tab.
pub fn strip(data: &[u8]) -> &[u8] {
    let Some(first) = data.iter().position(|byte| !is_space(*byte)) else {
        return &[];
    };
    let last = data.iter().rposition(|byte| !is_space(*byte));
    &data[first..=last.unwrap_or(first)]
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::strip;

    #[test]
    fn python_s_white_space_is_removed_at_both_ends() {
        assert_eq!(strip(b" \t\n\r\x0b\x0chello world\x0c\x0b\r\n\t "), b"hello world");
        assert_eq!(strip(b"x"), b"x");
        assert_eq!(strip(b""), b"");
        assert_eq!(strip(b" \r\n"), b"");
    }

    #[test]
    fn every_other_byte_stays() {
        for byte in 0..=255_u8 {
            let kept = !b" \t\n\r\x0b\x0c".contains(&byte);
            assert_eq!(strip(&[byte]).len(), usize::from(kept), "byte {byte:#04x}");
        }
    }
}
