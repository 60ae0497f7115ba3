//! The text form of the values of options.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;

use super::{Group, KeepAlive};

/// The longest name of a network interface: `IFNAMSIZ` of `netdevice(7)` without the
/// zero byte.
const MAX_NAME: usize = 15;
/// The sizes that the kernel accepts for a buffer: it doubles the number.
const BUFFERS: RangeInclusive<u64> = 4 << 10..=512 << 20;
/// The times and the number of probes that the kernel accepts: `MAX_TCP_KEEPIDLE`,
/// `MAX_TCP_KEEPINTVL` and `MAX_TCP_KEEPCNT`.
const PROBE_SECONDS: RangeInclusive<u64> = 1..=32_767;
const PROBES: RangeInclusive<u32> = 1..=127;
/// The times without data after which a connection is accepted.
const DEFER_SECONDS: RangeInclusive<u64> = 1..=3600;

pub(super) fn parse_flag(text: &str) -> Option<bool> {
    text.parse().ok()
}

pub(super) fn parse_number(text: &str, range: RangeInclusive<u32>) -> Option<u32> {
    // `u32::from_str` accepts a sign.
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten()?;
    range.contains(&number).then_some(number)
}

pub(super) fn parse_buffer(text: &str) -> Option<u64> {
    let size = text.parse::<ByteSize>().ok()?.as_u64();
    BUFFERS.contains(&size).then_some(size)
}

/// Returns a number of bytes in the largest unit that divides it.
pub(super) fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

fn parse_seconds(text: &str, range: RangeInclusive<u64>) -> Option<Duration> {
    let duration = humantime::parse_duration(text).ok()?;
    let whole = duration.subsec_nanos() == 0;
    (whole && range.contains(&duration.as_secs())).then_some(duration)
}

pub(super) fn parse_defer(text: &str) -> Option<Duration> {
    parse_seconds(text, DEFER_SECONDS)
}

/// Returns whole seconds. Other durations, which are not valid values, are shown as they
/// are.
pub(super) fn show_seconds(duration: Duration) -> String {
    format!("{duration:?}")
}

pub(super) fn parse_keep_alive(text: &str) -> Option<KeepAlive> {
    if let Some(on) = parse_flag(text) {
        return Some(if on { KeepAlive::On } else { KeepAlive::Off });
    }
    let mut parts = text.split(',');
    let idle = parse_seconds(parts.next()?, PROBE_SECONDS)?;
    let interval = parts.next().filter(|text| !text.is_empty());
    let interval = interval.map(|text| parse_seconds(text, PROBE_SECONDS).ok_or(()));
    let count = parts.next().map(|text| parse_number(text, PROBES).ok_or(()));
    if parts.next().is_some() {
        return None;
    }
    let (interval, count) = (interval.transpose().ok()?, count.transpose().ok()?);
    Some(KeepAlive::After { idle, interval, count })
}

pub(super) fn show_keep_alive(keep_alive: KeepAlive) -> String {
    match keep_alive {
        KeepAlive::Off => "false".to_owned(),
        KeepAlive::On => "true".to_owned(),
        KeepAlive::After { idle, interval, count } => {
            let interval = interval.map(show_seconds);
            let count = count.map(|count| count.to_string());
            let interval = interval.or_else(|| count.as_ref().map(|_| String::new()));
            let parts = [Some(show_seconds(idle)), interval, count];
            parts.into_iter().flatten().collect::<Vec<_>>().join(",")
        }
    }
}

/// Parses the name of a network interface that a URL can contain.
pub(crate) fn parse_interface(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"/?#[]&%=,:".contains(&byte);
    let fits = (1..=MAX_NAME).contains(&text.len());
    (fits && text.bytes().all(is_plain)).then(|| text.to_owned())
}

/// Returns the suffix of an address for the name or number of an interface, with its
/// percent sign, which is escaped if the name begins like the rest of an escape.
pub(crate) fn interface_suffix(interface: &str) -> String {
    let needs_escape = interface.strip_prefix("25").is_some_and(|rest| !rest.is_empty());
    format!("{}{interface}", if needs_escape { "%25" } else { "%" })
}

/// Splits `ADDRESS%INTERFACE`; the interface may be missing. In a URL the percent sign may
/// be written `%25`, see RFC 6874.
pub(crate) fn split_interface(text: &str) -> (&str, Option<&str>) {
    match text.split_once('%') {
        None => (text, None),
        Some((address, interface)) => {
            let escaped = interface.strip_prefix("25").filter(|rest| !rest.is_empty());
            (address, Some(escaped.unwrap_or(interface)))
        }
    }
}

pub(super) fn parse_group(text: &str) -> Option<Group> {
    let (address, name) = split_interface(text);
    let address: IpAddr = address.parse().ok()?;
    let interface = name.map(|name| parse_interface(name).ok_or(())).transpose().ok()?;
    address.is_multicast().then_some(Group { address, interface })
}

pub(super) fn show_group(group: &Group) -> String {
    match &group.interface {
        Some(interface) => format!("{}{}", group.address, interface_suffix(interface)),
        None => group.address.to_string(),
    }
}
