//! Sizes and durations as people write them.

use std::time::Duration;

use bytesize::ByteSize;

/// Longer than this is a slip of the hand.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// The least and the most memory that a guest can be given: one page, and all
/// that it can address.
const PAGE: u64 = 64 << 10;
const ALL: u64 = 4 << 30;

/// No machine can address this.
const TOO_MUCH: &str = "less than 16EiB";

/// Parses `64MiB`, `64MB` or a number of bytes, for one guest.
pub fn memory(text: &str) -> Result<usize, String> {
    let size = size(text)?;
    if !(PAGE..=ALL).contains(&(size as u64)) {
        return Err("a guest has at least 64KiB and at most 4GiB".to_owned());
    }
    Ok(size)
}

/// As [`memory`], of any size that is not nothing.
pub fn size(text: &str) -> Result<usize, String> {
    let size = usize::try_from(bytes(text)?).map_err(|_| TOO_MUCH.to_owned())?;
    if size == 0 { Err("at least 1B".to_owned()) } else { Ok(size) }
}

/// As [`memory`], of any size.
pub fn bytes(text: &str) -> Result<u64, String> {
    let size = text.parse::<ByteSize>().map_err(|_| "write a size such as 64MiB".to_owned())?;
    // What would be more is made this.
    if size == ByteSize(u64::MAX) { Err(TOO_MUCH.to_owned()) } else { Ok(size.as_u64()) }
}

/// As [`memory`], of what the host allocates for one call.
pub fn call_memory(text: &str) -> Result<usize, String> {
    let size = size(text)?;
    if !((4 << 10)..=(64 << 20)).contains(&size) {
        return Err("at least 4KiB and at most 64MiB".to_owned());
    }
    Ok(size)
}

/// Parses `1h`, `2m 30s`, `500ms` and the like, from one millisecond to a year.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = duration_or_zero(text)?;
    if duration < Duration::from_millis(1) {
        return Err("at least 1ms".to_owned());
    }
    Ok(duration)
}

/// As [`duration`], or `0s`.
pub fn duration_or_zero(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|_| "write a duration such as 500ms, 10s or 2m 30s".to_owned())?;
    if duration > LONGEST {
        return Err("at most a year".to_owned());
    }
    Ok(duration)
}

/// Parses a number of seconds, as Python has them: `0.5`.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| "zero or more".to_owned())?;
    if duration > LONGEST {
        return Err("at most a year".to_owned());
    }
    Ok(duration)
}

/// As [`size`], for a process that compiles: it takes some itself.
pub fn compile_memory(text: &str) -> Result<u64, String> {
    let size = size(text)? as u64;
    if size < 256 << 20 { Err("at least 256MiB".to_owned()) } else { Ok(size) }
}

/// As [`duration`], in seconds, as the kernel limits CPU time.
pub fn whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.subsec_nanos() > 0 { Err("whole seconds".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(memory("64MiB").unwrap(), 64 << 20);
        assert_eq!(memory("1MB").unwrap(), 1_000_000);
        assert_eq!(memory("65536").unwrap(), 65536);
        assert_eq!(memory("4GiB").unwrap(), 4 << 30);
        for wrong in
            ["", "0", "65535", "4GiB1", "5GiB", "-1MiB", "64 XiB", "99999999999999999999", "NaN"]
        {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_of_other_things() {
        assert_eq!(bytes("0").unwrap(), 0);
        assert_eq!(bytes("2GiB").unwrap(), 2 << 30);
        assert_eq!(bytes("15EiB").unwrap(), 15 << 60);
        for wrong in ["-1", "much", "16EiB", "99999999999999999999", "20000000000GiB"] {
            assert!(bytes(wrong).is_err() && size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(call_memory("4KiB").unwrap(), 4 << 10);
        assert_eq!(call_memory("64MiB").unwrap(), 64 << 20);
        assert!(call_memory("4095").is_err() && call_memory("65MiB").is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("2m 30s").unwrap(), Duration::from_secs(150));
        assert_eq!(duration_or_zero("0s").unwrap(), Duration::ZERO);
        for wrong in ["", "0s", "1us", "10", "-1s", "2y", "99999999999999999999s", "s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn python_seconds() {
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        assert_eq!(seconds("0").unwrap(), Duration::ZERO);
        for wrong in ["", "-1", "NaN", "inf", "1e300", "1s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
