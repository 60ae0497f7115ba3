//! Who may be served.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::io;
use std::time::Duration;

use clap::Args;
use socketserver::access::{Access, AccessTime, Who, banner, network};

use crate::{owner, units};

/// More than this is a slip of the hand.
const MOST_IN_A_SECOND: u32 = 1_000_000;

/// Who is served. Clients are judged before anything is made for them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Who is served")]
pub struct AccessOptions {
    /// Serve these clients, and of the others only those that another --allow
    /// names, on every socket: a network such as 10.0.0.0/8, an address, or for Unix
    /// sockets user:NAME or group:NAME, each a name or a number. A process has the
    /// group that it runs with; supplementary ones do not count. IPv4 clients of
    /// IPv6 sockets are IPv4 clients. May be given more than once.
    #[arg(long, value_name = "WHO", value_parser = who)]
    pub allow: Vec<Who>,

    /// Do not serve these clients, written as for --allow and whatever that says:
    /// they see the end of the connection at once. May be given more than once.
    #[arg(long, value_name = "WHO", value_parser = who)]
    pub deny: Vec<Who>,

    /// Serve at these times of the day only, by the local clock: 08:00-18:30 is
    /// until 18:29:59, and 22:00-06:00 passes midnight. May be given more than once.
    #[arg(long, value_name = "FROM-UNTIL")]
    pub access_times: Vec<AccessTime>,

    /// Serve nobody while the load average of the last minute is this or more.
    #[arg(long, value_name = "LOAD", value_parser = load)]
    pub max_load: Option<f64>,

    /// How often each source may come: RATE times in a second, which may be a
    /// fraction such as 0.1, and BURST times at once, which is RATE if not given,
    /// and 1 at least. A source is an IPv4 address, the /64 of an IPv6 address, or
    /// the user of a Unix client. Each of --workers counts for itself.
    #[arg(long, value_name = "RATE[:BURST]", value_parser = source_rate)]
    pub source_rate: Option<(f64, u32)>,

    /// How many requests each source may have in flight; see --source-rate for what
    /// a source is. With --concurrency forking a place is free a moment after the
    /// client has seen the end. Each of --workers counts for itself.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_per_source: Option<u32>,

    /// The most clients that may come in a second, over all sources and all --workers:
    /// N at once, and as many in each second. One more is refused, and so are all
    /// others for as long as PAUSE, 10s if not given. Clients that another option
    /// refuses are not counted.
    #[arg(long, value_name = "N[:PAUSE]", value_parser = cps)]
    pub cps: Option<(u32, Duration)>,

    /// What a refused client of a stream is sent before the end, whichever option
    /// refused it: at most 1 KiB, with \n, \r, \t, \\ and \xHH. Nothing if not given.
    #[arg(long, value_name = "TEXT", value_parser = text_of_banner)]
    pub banner_refused: Option<Banner>,
}

/// What refused clients are told.
#[derive(Debug, Clone)]
pub struct Banner(Vec<u8>);

impl AccessOptions {
    /// The rules. Those of `workers` share what they can.
    ///
    /// Errors: the time zone that `TZ` names is not known.
    pub fn rules(&self, workers: bool) -> io::Result<Access> {
        // Nobody would be answered, and each would cost an instance.
        let mut access = Access::new().refuse_reset();
        access = self.allow.iter().fold(access, |access, who| access.allow(*who));
        access = self.deny.iter().fold(access, |access, who| access.deny(*who));
        if !self.access_times.is_empty() {
            access = access.access_times(self.access_times.clone())?;
        }
        if let Some(limit) = self.max_load {
            access = access.max_load(limit);
        }
        if let Some((per_second, burst)) = self.source_rate {
            access = access.source_rate(per_second, burst);
        }
        if let Some(most) = self.max_per_source {
            access = access.max_per_source(most);
        }
        if let Some((most, pause)) = self.cps {
            access = if workers {
                access.rate_over_workers(most, pause)?
            } else {
                access.rate(most, pause)
            };
        }
        if let Some(Banner(banner)) = &self.banner_refused {
            access = access.banner(banner.as_slice());
        }
        Ok(access)
    }
}

/// Parses `10.0.0.0/8`, `10.0.0.1`, `user:NAME` or `group:NAME`.
pub fn who(text: &str) -> Result<Who, String> {
    if let Some(user) = text.strip_prefix("user:") {
        return owner::user(user).map(Who::User);
    }
    if let Some(group) = text.strip_prefix("group:") {
        return owner::group(group).map(Who::Group);
    }
    let wrong = |_| "write a network such as 10.0.0.0/8, an address, user:NAME or group:NAME";
    network(text).map(Who::Network).map_err(|error| wrong(error).to_owned())
}

/// Parses a load average, from 0.01 to 10000.
pub fn load(text: &str) -> Result<f64, String> {
    number(text, 0.01, 10_000.0).ok_or_else(|| "write a number from 0.01 to 10000".to_owned())
}

/// Parses `10`, `0.5`, `10:50`: a rate, from 0.001, and how many may come at once.
pub fn source_rate(text: &str) -> Result<(f64, u32), String> {
    let (rate, burst) = match text.split_once(':') {
        Some((rate, burst)) => (rate, Some(burst)),
        None => (text, None),
    };
    let rate = number(rate, 0.001, f64::from(MOST_IN_A_SECOND))
        .ok_or("write a rate from 0.001 to 1000000 in a second, such as 10 or 10:50")?;
    let burst = match burst {
        Some(burst) => count(burst)?,
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        None => rate.ceil() as u32,
    };
    Ok((rate, burst))
}

/// Parses `100` or `100:10s`: how many may come in a second, and how long a pause is.
pub fn cps(text: &str) -> Result<(u32, Duration), String> {
    let (most, pause) = match text.split_once(':') {
        Some((most, pause)) => (most, units::duration(pause)?),
        None => (text, Duration::from_secs(10)),
    };
    Ok((count(most)?, pause))
}

/// Parses what refused clients are told.
pub fn text_of_banner(text: &str) -> Result<Banner, String> {
    banner(text).map(Banner)
}

fn count(text: &str) -> Result<u32, String> {
    let wrong = || format!("write a number from 1 to {MOST_IN_A_SECOND}");
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let count = text.parse().ok().filter(|count| digits && (1..=MOST_IN_A_SECOND).contains(count));
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
    fn clients() {
        assert_eq!(who("user:root"), Ok(Who::User(0)));
        assert_eq!(who("user:1000"), Ok(Who::User(1000)));
        assert_eq!(who("group:root"), Ok(Who::Group(0)));
        assert_eq!(who("group:12"), Ok(Who::Group(12)));
        assert_eq!(who("10.0.0.0/8"), Ok(Who::Network("10.0.0.0/8".parse().unwrap())));
        assert_eq!(who("::1"), Ok(Who::Network("::1/128".parse().unwrap())));
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
            assert!(who(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates() {
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
    fn loads() {
        assert_eq!(load("4"), Ok(4.0));
        assert_eq!(load("0.01"), Ok(0.01));
        assert_eq!(load("10000"), Ok(10_000.0));
        for wrong in ["", "0", "0.001", "10001", "-1", "NaN", "inf", "1e3", "4,0"] {
            assert!(load(wrong).is_err(), "{wrong}");
        }
    }
}
