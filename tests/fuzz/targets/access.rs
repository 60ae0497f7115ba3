//! The options that admit or refuse clients: numbers are within their bounds, and a value that
//! is printed in full parses to the same value.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use socketserver::access::{AccessTime, ClientSet, MAX_BANNER, banner};
use socketserver_fuzz::check_message;

#[path = "../../../host/cli/src/values/access.rs"]
#[allow(dead_code, reason = "only what parses is fuzzed")]
mod access;
#[path = "../../../host/cli/src/values/owner.rs"]
#[allow(dead_code, reason = "`access` takes users and groups from it")]
mod owner;
#[path = "../../../host/cli/src/values/units.rs"]
#[allow(dead_code, reason = "`access` takes durations from it")]
mod units;

const MOST: u32 = 1_000_000;

fuzz_target!(|text: &str| {
    parsed(access::client(text), |who| {
        let written = match who {
            ClientSet::Network(network) => network.to_string(),
            ClientSet::User(user) => format!("user:{user}"),
            ClientSet::Group(group) => format!("group:{group}"),
        };
        assert!(!matches!(who, ClientSet::User(u32::MAX) | ClientSet::Group(u32::MAX)), "{text}");
        assert_eq!(access::client(&written), Ok(who));
    });
    parsed(access::load(text), |load| {
        assert!((0.01..=10_000.0).contains(&load), "{text}: {load}");
        assert_eq!(access::load(&load.to_string()), Ok(load));
    });
    parsed(access::source_rate(text), |(rate, burst)| {
        assert!((0.001..=f64::from(MOST)).contains(&rate), "{text}: {rate}");
        assert!((1..=MOST).contains(&burst), "{text}: {burst}");
        assert_eq!(access::source_rate(&format!("{rate}:{burst}")), Ok((rate, burst)));
    });
    parsed(access::cps(text), |(most, pause)| {
        assert!((1..=MOST).contains(&most), "{text}: {most}");
        assert!(pause >= Duration::from_millis(1) && pause.as_secs() <= 366 * 24 * 3600);
        let pause_text = humantime::format_duration(pause);
        assert_eq!(access::cps(&format!("{most}:{pause_text}")), Ok((most, pause)));
    });
    parsed(text.parse::<AccessTime>(), |time| {
        // The text consists of times that a clock shows.
        let numbers: Vec<u32> = text.split([':', '-']).flat_map(str::parse).collect();
        let [from_hour, from_minute, hour, minute] = numbers[..] else { panic!("{text}") };
        assert!(from_hour < 24 && from_minute < 60 && minute < 60, "{text}");
        assert!(hour * 60 + minute <= 24 * 60, "{text}");
        let written = format!("{from_hour:02}:{from_minute:02}-{hour:02}:{minute:02}");
        assert_eq!(written.parse(), Ok(time));
    });
    parsed(banner(text), |bytes| {
        assert!((1..=MAX_BANNER).contains(&bytes.len()));
        let escaped: Vec<String> = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let escaped = escaped.concat();
        assert_eq!(banner(&escaped), Ok(bytes));
    });
});

fn parsed<T>(result: Result<T, String>, check: impl FnOnce(T)) {
    match result {
        Ok(value) => check(value),
        Err(error) => check_message(error),
    }
}
