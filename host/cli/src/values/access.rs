//! Clients, rates and the text for refused clients.

use std::time::Duration;

use socketserver::access::{ClientSet, banner as banner_text, network};

use super::{owner, units};

/// The highest rate in a second. A higher one is a mistake.
const HIGHEST_RATE: u32 = 1_000_000;

/// The text that refused clients receive.
#[derive(Debug, Clone)]
pub struct Banner(pub Vec<u8>);

/// Parses `10.0.0.0/8`, `10.0.0.1`, `user:NAME` or `group:NAME`.
pub fn client(text: &str) -> Result<ClientSet, String> {
    if let Some(user) = text.strip_prefix("user:") {
        return owner::user(user).map(ClientSet::User);
    }
    if let Some(group) = text.strip_prefix("group:") {
        return owner::group(group).map(ClientSet::Group);
    }
    let wrong = |_| "write a network such as 10.0.0.0/8, an address, user:NAME or group:NAME";
    network(text).map(ClientSet::Network).map_err(|error| wrong(error).to_owned())
}

/// Parses a load average, from 0.01 to 10000.
pub fn load(text: &str) -> Result<f64, String> {
    number(text, 0.01, 10_000.0).ok_or_else(|| "write a number from 0.01 to 10000".to_owned())
}

/// Parses `10`, `0.5` or `10:50`: a rate from 0.001, and the number of clients that may come
/// at once.
pub fn source_rate(text: &str) -> Result<(f64, u32), String> {
    let (rate, burst) = match text.split_once(':') {
        Some((rate, burst)) => (rate, Some(burst)),
        None => (text, None),
    };
    let rate = number(rate, 0.001, f64::from(HIGHEST_RATE))
        .ok_or("write a rate from 0.001 to 1000000 in a second, such as 10 or 10:50")?;
    let burst = match burst {
        Some(burst) => count(burst)?,
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        None => rate.ceil() as u32,
    };
    Ok((rate, burst))
}

/// Parses `100` or `100:10s`: the number of clients in a second, and the length of a pause.
pub fn cps(text: &str) -> Result<(u32, Duration), String> {
    let (most, pause) = match text.split_once(':') {
        Some((most, pause)) => (most, units::duration(pause)?),
        None => (text, Duration::from_secs(10)),
    };
    Ok((count(most)?, pause))
}

/// Parses the text for refused clients, with its escapes.
pub fn banner(text: &str) -> Result<Banner, String> {
    banner_text(text).map(Banner)
}

fn count(text: &str) -> Result<u32, String> {
    let wrong = || format!("write a number from 1 to {HIGHEST_RATE}");
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let count = text.parse().ok().filter(|count| digits && (1..=HIGHEST_RATE).contains(count));
    count.ok_or_else(wrong)
}

fn number(text: &str, least: f64, most: f64) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|number| plain && (least..=most).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_a_network_a_user_or_a_group() {
        assert_eq!(client("user:root"), Ok(ClientSet::User(0)));
        assert_eq!(client("user:1000"), Ok(ClientSet::User(1000)));
        assert_eq!(client("group:root"), Ok(ClientSet::Group(0)));
        assert_eq!(client("group:12"), Ok(ClientSet::Group(12)));
        assert_eq!(client("10.0.0.0/8"), Ok(ClientSet::Network("10.0.0.0/8".parse().unwrap())));
        assert_eq!(client("::1"), Ok(ClientSet::Network("::1/128".parse().unwrap())));
        for wrong in [
            "",
            "user:",
            "group:",
            "user:no such user",
            "group:no such group",
            "user:-1",
            "root",
            "user:4294967296",
            "user:4294967295",
            "user:+1",
            "uid:0",
            "localhost",
            "10.0.0.0/33",
        ] {
            assert!(client(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_have_bounds_and_no_signs() {
        assert_eq!(source_rate("10"), Ok((10.0, 10)));
        assert_eq!(source_rate("0.5"), Ok((0.5, 1)));
        assert_eq!(source_rate("2.5:50"), Ok((2.5, 50)));
        assert_eq!(cps("100"), Ok((100, Duration::from_secs(10))));
        assert_eq!(cps("1:500ms"), Ok((1, Duration::from_millis(500))));
        for wrong in [
            "",
            "0",
            "0.0009",
            "1000001",
            "-1",
            "+1",
            "1e3",
            "NaN",
            "inf",
            "1:",
            ":1",
            "1:0",
            "1:-1",
            "1:1:1",
            "1:1.5",
            "1:1000001",
            "1:+1",
        ] {
            assert!(source_rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "0", "1.5", "1000001", "-1", "1:", ":1s", "1:0s", "1:10", "1:2y", "1 1s"]
        {
            assert!(cps(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn load_averages_have_bounds() {
        assert_eq!(load("4"), Ok(4.0));
        assert_eq!(load("0.01"), Ok(0.01));
        assert_eq!(load("10000"), Ok(10_000.0));
        for wrong in ["", "0", "0.001", "10001", "-1", "NaN", "inf", "1e3", "4,0"] {
            assert!(load(wrong).is_err(), "{wrong}");
        }
    }
}
