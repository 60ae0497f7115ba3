//! The text of a header of the PROXY protocol, as the specification `proxy-protocol.txt` defines it.
//!
//! The parser reads untrusted bytes: it allocates nothing, and takes time in proportion to the
//! header, which is short. It accepts what the specification defines, and guesses nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;

/// The longest header of version 1, with its end of line.
const MAX_V1: usize = 107;

/// The longest header of version 2 that is accepted. The longest that
/// proxies send have some hundred bytes: a name, a certificate's subject, an identifier.
pub(super) const MAX_V2: usize = 4096;

/// The bytes that every header has: `PROXY UNKNOWN` and its end of line have as many.
const SHORTEST: usize = 15;

const V1: &[u8] = b"PROXY ";
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes of version 2 before the addresses.
const V2_FIXED: usize = 16;

/// The type of the field that has the checksum.
const CRC32C: u8 = 3;

/// The reason for which bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// They do not begin as a header does.
    Missing,
    /// They begin as one.
    Malformed,
}

/// The parts of a header that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The header has at least as many further bytes.
    Partial(usize),
    /// The header has an end of line at its end, which is within so many further bytes.
    Line(usize),
    /// The header is whole. It names a client, or none.
    Whole(Option<SocketAddr>),
}

/// Parses the beginning of a header, or all of it, and nothing that follows it.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Wrong> {
    let begins = |signature: &[u8]| {
        let common = bytes.len().min(signature.len());
        bytes[..common] == signature[..common]
    };
    if !begins(V1) && !begins(V2) {
        return Err(Wrong::Missing);
    }
    if bytes.len() < SHORTEST {
        return Ok(Parsed::Partial(SHORTEST - bytes.len()));
    }
    if begins(V1) { parse_v1(bytes) } else { parse_v2(bytes) }
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, Wrong> {
    let Some(line) = bytes.strip_suffix(b"\n") else {
        let left = MAX_V1.checked_sub(bytes.len()).filter(|left| *left > 0);
        return left.map(Parsed::Line).ok_or(Wrong::Malformed);
    };
    let line = line.strip_suffix(b"\r").ok_or(Wrong::Malformed)?;
    let text = line.strip_prefix(V1).and_then(|text| str::from_utf8(text).ok());
    let text = text.ok_or(Wrong::Malformed)?;
    // The receiver must ignore what follows it.
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Ok(Parsed::Whole(None));
    }
    let named = named_in_v1(text).ok_or(Wrong::Malformed)?;
    Ok(Parsed::Whole(Some(named)))
}

/// Returns the client of `TCP4 SOURCE DESTINATION PORT PORT`.
fn named_in_v1(text: &str) -> Option<SocketAddr> {
    let mut words = text.split(' ');
    let family = words.next()?;
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            _ => None,
        }
    };
    let (source, _) = (address()?, address()?);
    let mut port = || words.next().and_then(port);
    let (source_port, _) = (port()?, port()?);
    words.next().is_none().then_some(SocketAddr::new(source, source_port))
}

/// Parses a port, without a sign or leading zeros.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = word.len() > 1 && word.starts_with('0');
    word.parse().ok().filter(|_| plain && !leading_zero)
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, Wrong> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else {
        return Ok(Parsed::Partial(V2_FIXED - bytes.len()));
    };
    let [.., version_and_command, family_and_transport, high, low] = *fixed;
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Wrong::Malformed),
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if V2_FIXED + length > MAX_V2 {
        return Err(Wrong::Malformed);
    }
    if rest.len() < length {
        return Ok(Parsed::Partial(length - rest.len()));
    }
    // The addresses of `LOCAL` must be ignored, whatever they are.
    if is_local {
        return Ok(Parsed::Whole(None));
    }
    let (client, fields) = match family_and_transport {
        // No family: there may be anything.
        0x00 => return Ok(Parsed::Whole(None)),
        0x11 => client_and_fields(rest, |ip: [u8; 4]| ip.into()),
        0x21 => client_and_fields(rest, |ip: [u8; 16]| ip.into()),
        // Datagrams have no place in a connection, and a path of another machine names no
        // client here.
        _ => None,
    }
    .ok_or(Wrong::Malformed)?;
    check_fields(bytes, fields)?;
    Ok(Parsed::Whole(Some(client)))
}

/// Returns the source of two addresses of `N` bytes each and two ports, and what follows them.
fn client_and_fields<const N: usize>(
    rest: &[u8],
    to_ip: fn([u8; N]) -> IpAddr,
) -> Option<(SocketAddr, &[u8])> {
    let (source, rest) = rest.split_first_chunk::<N>()?;
    let (_destination, rest) = rest.split_first_chunk::<N>()?;
    let (ports, fields) = rest.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([ports[0], ports[1]]);
    Some((SocketAddr::new(to_ip(*source), port), fields))
}

/// Checks that the fields fill the header, and that the checksum is right if there is one.
fn check_fields(header: &[u8], mut fields: &[u8]) -> Result<(), Wrong> {
    while let Some(([kind, high, low], rest)) = fields.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, next) = rest.split_at_checked(length).ok_or(Wrong::Malformed)?;
        if *kind == CRC32C {
            let value: [u8; 4] = value.try_into().map_err(|_| Wrong::Malformed)?;
            // The checksum counts as zeros in the sum.
            let end = header.len() - next.len();
            let bytes = header.iter().enumerate();
            let bytes =
                bytes.map(|(at, byte)| if (end - 4..end).contains(&at) { 0 } else { *byte });
            if crc32c(bytes) != u32::from_be_bytes(value) {
                return Err(Wrong::Malformed);
            }
        }
        fields = next;
    }
    if fields.is_empty() { Ok(()) } else { Err(Wrong::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2, &[command, family][..], &length, rest].concat()
    }

    fn client(bytes: &[u8]) -> Option<String> {
        match parse(bytes) {
            Ok(Parsed::Whole(client)) => client.map(|client| client.to_string()),
            other => panic!("{other:?}"),
        }
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xde, 0xad, 0, 80];

    #[test]
    fn a_header_of_version_1_names_its_client() {
        let named = |text: &str| client(text.as_bytes());
        let ipv4 = named("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n");
        assert_eq!(ipv4.as_deref(), Some("192.0.2.1:56324"));
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe \
                       ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        let address = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535";
        assert_eq!(named(longest).as_deref(), Some(address));
        for unknown in ["UNKNOWN", "UNKNOWN ffff::1 ffff::2 1 2", "UNKNOWN  anything"] {
            assert_eq!(named(&format!("PROXY {unknown}\r\n")), None);
        }
    }

    #[test]
    fn a_header_of_version_2_names_its_client() {
        let named = client(&v2(0x21, 0x11, &IPV4));
        assert_eq!(named.as_deref(), Some("192.0.2.1:57005"));
        let mut ipv6 = [0; 36];
        ipv6[15] = 1;
        ipv6[33] = 7;
        assert_eq!(client(&v2(0x21, 0x21, &ipv6)).as_deref(), Some("[::1]:7"));
        let with_field = [&IPV4[..], &[5, 0, 2, b'i', b'd']].concat();
        assert!(client(&v2(0x21, 0x11, &with_field)).is_some());
    }

    #[test]
    fn local_and_unspecified_name_no_client_whatever_follows() {
        for rest in [&[][..], &IPV4, &[1, 2, 3]] {
            for family in [0x00, 0x11, 0x21, 0x31, 0xff] {
                assert_eq!(client(&v2(0x20, family, rest)), None);
            }
            assert_eq!(client(&v2(0x21, 0x00, rest)), None);
        }
    }

    #[test]
    fn each_part_of_a_header_is_a_part_of_it() {
        let headers = [
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            v2(0x21, 0x11, &IPV4),
            v2(0x20, 0, &[]),
        ];
        for header in headers {
            for length in 0..header.len() {
                let left = header.len() - length;
                match parse(&header[..length]) {
                    Ok(Parsed::Partial(more)) => assert!((1..=left).contains(&more)),
                    Ok(Parsed::Line(most)) => assert!(most >= left && most + length == MAX_V1),
                    other => panic!("{other:?} at {length} of {header:?}"),
                }
            }
        }
    }

    #[test]
    fn other_texts_are_no_header_from_their_first_byte_on() {
        for text in ["G", "\n", "GET / HTTP/1.1", "PROXYTCP4 ", "PUT /", "proxy TCP4", "\r\nX"] {
            assert_eq!(parse(text.as_bytes()), Err(Wrong::Missing), "{text}");
        }
    }

    #[test]
    fn malformed_headers_of_version_1_are_refused() {
        for rest in [
            "TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            "TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n",
            "TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
            "TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
            "TCP4 192.0.2.1 198.51.100.1 +56324 443\r\n",
            "TCP4 192.0.2.1 198.51.100.1 056324 443\r\n",
            "TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
            "TCP4 192.0.2.01 198.51.100.1 56324 443\r\n",
            "TCP4 192.0.2.256 198.51.100.1 56324 443\r\n",
            "TCP4 ::1 ::1 56324 443\r\n",
            "TCP6 192.0.2.1 198.51.100.1 56324 443\r\n",
            "TCP6 fe80::1%1 ::1 56324 443\r\n",
            "UDP4 192.0.2.1 198.51.100.1 56324 443\r\n",
            "tcp4 192.0.2.1 198.51.100.1 56324 443\r\n",
            "TCP4 192.0.2.1 198.51.100.1 56324 443\n",
            "TCP4 192.0.2.1 198.51.100.1 56324 443\r\r\n",
            "UNKNOWNS\r\n",
            "UNKNOWN \u{ff}\n",
        ] {
            let header = format!("PROXY {rest}");
            assert_eq!(parse(header.as_bytes()), Err(Wrong::Malformed), "{rest:?}");
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(MAX_V1));
        assert_eq!(parse(&endless.as_bytes()[..MAX_V1]), Err(Wrong::Malformed));
    }

    #[test]
    fn malformed_headers_of_version_2_are_refused() {
        for (command, family, rest) in [
            (0x11, 0x11, &IPV4[..]),
            (0x22, 0x11, &IPV4),
            (0x21, 0x12, &IPV4),
            (0x21, 0x10, &IPV4),
            (0x21, 0x41, &IPV4),
            (0x21, 0x31, &[0; 216]),
            (0x21, 0x11, &IPV4[..11]),
            (0x21, 0x21, &IPV4),
            (0x21, 0x11, &[]),
            (0x21, 0x11, &[&IPV4[..], &[5, 0]].concat()),
            (0x21, 0x11, &[&IPV4[..], &[5, 0, 2, 1]].concat()),
            (0x21, 0x11, &[0; MAX_V2 - V2_FIXED + 1]),
        ] {
            assert_eq!(parse(&v2(command, family, rest)), Err(Wrong::Malformed), "{rest:?}");
        }
    }

    #[test]
    fn a_checksum_must_be_right() {
        let with_sum = |sum: [u8; 4]| {
            let rest = [&IPV4[..], &[CRC32C, 0, 4], &sum, &[4, 0, 1, 0]].concat();
            v2(0x21, 0x11, &rest)
        };
        let sum = crc32c(with_sum([0; 4])).to_be_bytes();
        assert!(client(&with_sum(sum)).is_some());
        assert_eq!(parse(&with_sum([0; 4])), Err(Wrong::Malformed));
        let short = [&IPV4[..], &[CRC32C, 0, 3], &[0; 3]].concat();
        assert_eq!(parse(&v2(0x21, 0x11, &short)), Err(Wrong::Malformed));
    }
}
