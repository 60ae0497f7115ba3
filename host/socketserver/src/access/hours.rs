//! The times of the day at which clients are served.

use std::io;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

const DAY: u16 = 24 * 60;

/// A part of each day, in local time: from one minute until another, which is not
/// included. It may pass midnight. It is written as `08:00-18:30` or `22:00-06:00`; the
/// whole day is `00:00-24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessTime {
    /// The first minute, counted from midnight.
    from: u16,
    /// The minute after the last one; different from `from`.
    until: u16,
}

impl AccessTime {
    fn includes(self, minute: u16) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }
}

/// Parses `HH:MM-HH:MM`. An error is a sentence that says what to write.
impl FromStr for AccessTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write two times such as 08:00-18:30".to_owned();
        let (from, until) = text.split_once('-').ok_or_else(wrong)?;
        let from = minutes(from).filter(|from| *from < DAY).ok_or_else(wrong)?;
        let until = minutes(until).ok_or_else(wrong)?;
        if from == until {
            return Err("these two times are the same; the whole day is 00:00-24:00".to_owned());
        }
        Ok(AccessTime { from, until })
    }
}

/// Returns the minutes in `HH:MM`, up to `24:00`.
fn minutes(text: &str) -> Option<u16> {
    let number = |text: &str, digits: &[usize]| -> Option<u16> {
        let only = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        only.then(|| text.parse().ok()).flatten()
    };
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes) = (number(hours, &[1, 2])?, number(minutes, &[2])?);
    let sum = hours * 60 + minutes;
    (minutes < 60 && sum <= DAY).then_some(sum)
}

/// The times of the day at which clients are served, with the clock and the time zone.
#[derive(Debug)]
pub(super) struct Hours {
    times: Vec<AccessTime>,
    zone: TimeZone,
    clock: fn() -> SystemTime,
}

impl Hours {
    /// Returns the rule with the time zone of the process, which is read now: a process
    /// in a jail cannot read it.
    ///
    /// # Errors
    ///
    /// The time zone is not known.
    pub(super) fn new(times: Vec<AccessTime>, clock: fn() -> SystemTime) -> io::Result<Self> {
        let named = std::env::var_os("TZ").is_some_and(|zone| !zone.is_empty());
        let zone = match TimeZone::try_system() {
            Ok(zone) => zone,
            // The machine has no time zone.
            Err(_) if !named => TimeZone::UTC,
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        };
        Ok(Hours { times, zone, clock })
    }

    /// Returns true if now is one of the times. A clock beyond all calendars is at none
    /// of them.
    pub(super) fn admit(&self) -> bool {
        let Ok(now) = Timestamp::try_from((self.clock)()) else { return false };
        let time = self.zone.to_datetime(now).time();
        let minute =
            u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs());
        self.times.iter().any(|times| times.includes(minute))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use jiff::tz;

    use super::*;

    fn time(text: &str) -> AccessTime {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_includes_its_first_minute_and_not_its_last() {
        let day = time("08:00-18:30");
        for (at, within) in
            [("07:59", false), ("08:00", true), ("18:29", true), ("18:30", false), ("00:00", false)]
        {
            assert_eq!(day.includes(minutes(at).unwrap()), within, "{at}");
        }
    }

    #[test]
    fn a_time_may_pass_midnight() {
        let night = time("22:00-6:00");
        for (at, within) in [
            ("21:59", false),
            ("22:00", true),
            ("23:59", true),
            ("00:00", true),
            ("05:59", true),
            ("06:00", false),
        ] {
            assert_eq!(night.includes(minutes(at).unwrap()), within, "{at}");
        }
        assert!((0..DAY).all(|minute| time("00:00-24:00").includes(minute)));
        assert!(time("23:00-00:00").includes(23 * 60) && !time("23:00-00:00").includes(0));
    }

    #[test]
    fn times_are_local() {
        // 1970-01-01 09:15 UTC.
        let clock = || UNIX_EPOCH + Duration::from_mins(9 * 60 + 15);
        let there = |hours| tz::offset(hours).to_time_zone();
        let admits = |text, zone| Hours { times: vec![time(text)], zone, clock }.admit();
        assert!(admits("09:00-10:00", TimeZone::UTC));
        assert!(!admits("09:00-10:00", there(1)));
        assert!(admits("10:00-11:00", there(1)));
        assert!(admits("23:00-00:00", there(-10)));
        let many = vec![time("01:00-02:00"), time("09:15-09:16")];
        assert!(Hours { times: many, zone: TimeZone::UTC, clock }.admit());
        let never = || UNIX_EPOCH + Duration::from_secs(1 << 50);
        let all = vec![time("00:00-24:00")];
        assert!(!Hours { times: all, zone: TimeZone::UTC, clock: never }.admit());
    }

    #[test]
    fn other_texts_are_errors() {
        for wrong in [
            "",
            "-",
            "08:00",
            "08:00-",
            "-08:00",
            "8-18",
            "08:00-18:60",
            "24:00-08:00",
            "08:00-24:01",
            "08:00-25:00",
            "08:00-08:00",
            "08:0-18:00",
            "+8:00-18:00",
            "08:00-18:00-19:00",
            "008:00-18:00",
            "08:00 - 18:00",
            "０８:00-18:00",
        ] {
            assert!(wrong.parse::<AccessTime>().is_err(), "{wrong}");
        }
    }
}
