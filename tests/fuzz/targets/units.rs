//! Sizes and durations: they are within their bounds, and a value that is printed in full parses
//! to the same value.
#![no_main]

use std::ops::RangeInclusive;
use std::time::Duration;

use humantime::format_duration;
use libfuzzer_sys::fuzz_target;
use socketserver_fuzz::check_message;

#[path = "../../../host/cli/src/values/units.rs"]
mod units;

const YEAR: Duration = Duration::from_hours(365 * 24);

fuzz_target!(|text: &str| {
    let usizes = |parse: fn(&str) -> Result<usize, String>| {
        move |text: &str| parse(text).map(|size| size as u64)
    };
    size(text, usizes(units::memory), 64 << 10..=4 << 30);
    size(text, units::compile_memory, 256 << 20..=u64::MAX);
    size(text, usizes(units::size), 1..=u64::MAX);
    size(text, units::bytes, 0..=u64::MAX);
    duration(text, units::duration, Duration::from_millis(1));
    duration(text, units::duration_or_zero, Duration::ZERO);
    match units::whole_seconds(text) {
        Ok(parsed) => assert!(parsed.as_secs() > 0 && parsed.subsec_nanos() == 0, "{parsed:?}"),
        Err(error) => check_message(error),
    }
    match units::seconds(text) {
        Ok(parsed) => {
            assert!(parsed <= YEAR, "{parsed:?}");
            // A float holds all digits of such a number.
            let again =
                units::seconds(&format!("{}.{:09}", parsed.as_secs(), parsed.subsec_nanos()));
            assert!(again.is_ok_and(|again| again.abs_diff(parsed) < Duration::from_nanos(10)));
        }
        Err(error) => check_message(error),
    }
});

fn size(text: &str, parse: impl Fn(&str) -> Result<u64, String>, bounds: RangeInclusive<u64>) {
    match parse(text) {
        Ok(parsed) => {
            assert!(bounds.contains(&parsed), "{text}: {parsed}");
            assert_eq!(parse(&parsed.to_string()), Ok(parsed));
            assert_eq!(parse(&format!("{parsed}B")), Ok(parsed));
            // A number that is too large is not cut to the largest one.
            assert_ne!(parsed, u64::MAX, "{text}");
            let digits = text.trim_start_matches('+');
            if digits.bytes().all(|byte| byte.is_ascii_digit()) {
                assert_eq!(digits.parse(), Ok(parsed));
            }
        }
        Err(error) => check_message(error),
    }
}

fn duration(text: &str, parse: fn(&str) -> Result<Duration, String>, least: Duration) {
    match parse(text) {
        Ok(parsed) => {
            assert!((least..=YEAR).contains(&parsed), "{text}: {parsed:?}");
            assert_eq!(parse(&format_duration(parsed).to_string()), Ok(parsed));
        }
        Err(error) => check_message(error),
    }
}
