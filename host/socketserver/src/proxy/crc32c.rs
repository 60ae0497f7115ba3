//! The checksum CRC-32C (Castagnoli), which headers of version 2 may have.

/// The polynomial, with its bits in reverse order.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Returns the checksum of these bytes. A header is short, so there is no table.
pub(super) fn crc32c(bytes: impl IntoIterator<Item = u8>) -> u32 {
    let step = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 }
        })
    };
    !bytes.into_iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of RFC 3720, B.4.
    #[test]
    fn the_checksums_are_those_of_the_standard() {
        assert_eq!(crc32c(*b"123456789"), 0xe306_9283);
        assert_eq!(crc32c([0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c([0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(0..32), 0x46dd_794e);
    }
}
