//! How the values of options are written.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;

use super::{Group, KeepAlive};

/// The longest name of a network interface, `IFNAMSIZ` of `netdevice(7)` without the
/// zero at its end.
const LONGEST_NAME: usize = 15;
/// What the kernel takes for a buffer: it doubles the number.
const BUFFERS: RangeInclusive<u64> = 4 << 10..=512 << 20;
/// What the kernel takes for the times and the number of probes: `MAX_TCP_KEEPIDLE`,
/// `MAX_TCP_KEEPINTVL` and `MAX_TCP_KEEPCNT`.
const PROBE_SECONDS: RangeInclusive<u64> = 1..=32_767;
const PROBES: RangeInclusive<u32> = 1..=127;
/// A client that says nothing for longer is not about to.
const DEFER_SECONDS: RangeInclusive<u64> = 1..=3600;

pub(super) fn flag(text: &str) -> Option<bool> {
    text.parse().ok()
}

pub(super) fn number(text: &str, range: RangeInclusive<u32>) -> Option<u32> {
    // `u32::from_str` takes a sign.
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten()?;
    range.contains(&number).then_some(number)
}

pub(super) fn buffer(text: &str) -> Option<u64> {
    let size = text.parse::<ByteSize>().ok()?.as_u64();
    BUFFERS.contains(&size).then_some(size)
}

/// A number of bytes, in the largest unit that it is a multiple of.
pub(super) fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

fn seconds(text: &str, range: RangeInclusive<u64>) -> Option<Duration> {
    let duration = humantime::parse_duration(text).ok()?;
    let whole = duration.subsec_nanos() == 0;
    (whole && range.contains(&duration.as_secs())).then_some(duration)
}

pub(super) fn defer(text: &str) -> Option<Duration> {
    seconds(text, DEFER_SECONDS)
}

/// Whole seconds; what is not, and so is no value, as it is.
pub(super) fn show_seconds(duration: Duration) -> String {
    format!("{duration:?}")
}

pub(super) fn keep_alive(text: &str) -> Option<KeepAlive> {
    if let Some(on) = flag(text) {
        return Some(if on { KeepAlive::On } else { KeepAlive::Off });
    }
    let mut parts = text.split(',');
    let idle = seconds(parts.next()?, PROBE_SECONDS)?;
    let interval = parts.next().filter(|text| !text.is_empty());
    let interval = interval.map(|text| seconds(text, PROBE_SECONDS).ok_or(()));
    let count = parts.next().map(|text| number(text, PROBES).ok_or(()));
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

/// The name of a network interface that a URL can hold.
pub(crate) fn interface(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"/?#[]&%=,:".contains(&byte);
    let fits = (1..=LONGEST_NAME).contains(&text.len());
    (fits && text.bytes().all(is_plain)).then(|| text.to_owned())
}

/// The name or number of an interface behind an address, with its percent sign: one that
/// begins as an encoded percent sign does is written with that.
pub(crate) fn behind_address(interface: &str) -> String {
    let encoded = interface.strip_prefix("25").is_some_and(|rest| !rest.is_empty());
    format!("{}{interface}", if encoded { "%25" } else { "%" })
}

/// `ADDRESS%INTERFACE`, with or without the interface. In a URL a percent sign may be
/// written `%25`, see RFC 6874.
pub(crate) fn split_interface(text: &str) -> (&str, Option<&str>) {
    match text.split_once('%') {
        None => (text, None),
        Some((address, interface)) => {
            let encoded = interface.strip_prefix("25").filter(|rest| !rest.is_empty());
            (address, Some(encoded.unwrap_or(interface)))
        }
    }
}

pub(super) fn group(text: &str) -> Option<Group> {
    let (address, name) = split_interface(text);
    let address: IpAddr = address.parse().ok()?;
    let interface = name.map(|name| interface(name).ok_or(())).transpose().ok()?;
    address.is_multicast().then_some(Group { address, interface })
}

pub(super) fn show_group(group: &Group) -> String {
    match &group.interface {
        Some(interface) => format!("{}{}", group.address, behind_address(interface)),
        None => group.address.to_string(),
    }
}
