//! Sizes and durations.

use std::time::Duration;

use bytesize::ByteSize;

/// The longest duration. A longer one is a mistake.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// The least memory of a guest: one page of WebAssembly.
const LEAST_MEMORY: u64 = 64 << 10;

/// The most memory of a guest: all that it can address.
const MOST_MEMORY: u64 = 4 << 30;

/// More than any machine can address.
const TOO_MUCH: &str = "less than 16EiB";

/// Parses the memory of one guest: `64MiB`, `64MB` or a number of bytes.
pub fn memory(text: &str) -> Result<usize, String> {
    let size = size(text)?;
    if !(LEAST_MEMORY..=MOST_MEMORY).contains(&(size as u64)) {
        return Err("a guest has at least 64KiB and at most 4GiB".to_owned());
    }
    Ok(size)
}

/// Parses a size of at least one byte.
pub fn size(text: &str) -> Result<usize, String> {
    let size = usize::try_from(bytes(text)?).map_err(|_| TOO_MUCH.to_owned())?;
    if size == 0 { Err("at least 1B".to_owned()) } else { Ok(size) }
}

/// Parses a size.
pub fn bytes(text: &str) -> Result<u64, String> {
    let size = text.parse::<ByteSize>().map_err(|_| "write a size such as 64MiB".to_owned())?;
    // The parser makes this of any size that is larger.
    if size == ByteSize(u64::MAX) { Err(TOO_MUCH.to_owned()) } else { Ok(size.as_u64()) }
}

/// Parses a duration such as `1h`, `2m 30s` or `500ms`, from one millisecond to a year.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = duration_or_zero(text)?;
    if duration < Duration::from_millis(1) {
        return Err("at least 1ms".to_owned());
    }
    Ok(duration)
}

/// Parses a duration as [`duration`] does, or `0s`.
pub fn duration_or_zero(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|_| "write a duration such as 500ms, 10s or 2m 30s".to_owned())?;
    if duration > LONGEST {
        return Err("at most a year".to_owned());
    }
    Ok(duration)
}

/// Parses a number of seconds as Python writes it, such as `0.5`.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| "zero or more".to_owned())?;
    if duration > LONGEST {
        return Err("at most a year".to_owned());
    }
    Ok(duration)
}

/// Parses the memory of the compiler, which needs some for itself.
pub fn compile_memory(text: &str) -> Result<u64, String> {
    let size = size(text)? as u64;
    if size < 256 << 20 { Err("at least 256MiB".to_owned()) } else { Ok(size) }
}

/// Parses a duration in whole seconds, the unit in which the kernel limits CPU time.
pub fn whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.subsec_nanos() > 0 { Err("whole seconds".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_guest_has_bounds() {
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
    fn sizes_have_units_and_end_before_16_eib() {
        assert_eq!(bytes("0").unwrap(), 0);
        assert_eq!(bytes("2GiB").unwrap(), 2 << 30);
        assert_eq!(bytes("15EiB").unwrap(), 15 << 60);
        for wrong in ["-1", "much", "16EiB", "99999999999999999999", "20000000000GiB"] {
            assert!(bytes(wrong).is_err() && size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_have_units_and_end_after_a_year() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("2m 30s").unwrap(), Duration::from_secs(150));
        assert_eq!(duration_or_zero("0s").unwrap(), Duration::ZERO);
        for wrong in ["", "0s", "1us", "10", "-1s", "2y", "99999999999999999999s", "s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_are_numbers_as_in_python() {
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        assert_eq!(seconds("0").unwrap(), Duration::ZERO);
        for wrong in ["", "-1", "NaN", "inf", "1e300", "1s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
