//! The certificates of a server, and when they expire.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use socketserver::{TlsServer, printable};

/// The most certificates of a handler that are shown.
pub const MAX_CERTIFICATES: usize = 256;

/// The longest name of a file that is shown, in bytes.
const MAX_NAME: usize = 160;

/// The last second that a certificate can name, that of the year 9999.
const LAST: u64 = 253_402_300_799;

/// The time before the end of a certificate in which the log warns.
const SOON: Duration = Duration::from_hours(7 * 24);

/// A certificate of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its file.
    pub file: String,
    /// The last second in which it is valid, since 1970.
    pub not_after: u64,
}

/// Returns the certificates of a server with TLS. Files with the same name are one, which expires
/// with the first of them.
pub fn of_server(tls: &TlsServer) -> Vec<Certificate> {
    let mut all = Vec::new();
    for (path, not_after) in tls.expiries() {
        let file = printable(&path.to_string_lossy(), MAX_NAME);
        add(&mut all, Certificate { file, not_after: *not_after });
    }
    all
}

/// Adds a certificate to others.
pub fn add(all: &mut Vec<Certificate>, new: Certificate) {
    if let Some(same) = all.iter_mut().find(|one| one.file == new.file) {
        same.not_after = same.not_after.min(new.not_after);
    } else if all.len() < MAX_CERTIFICATES {
        all.push(new);
    }
}

/// Warns of each certificate that has expired, or expires soon.
pub fn warn(certificates: &[Certificate]) {
    let now = SystemTime::now();
    for certificate in certificates.iter().filter(|it| it.expires_before(now + SOON)) {
        let remedy = "put a new one in its place";
        let file = &certificate.file;
        tracing::warn!("the certificate `{file}` {}: {remedy}", certificate.expiry_at(now));
    }
}

impl Certificate {
    fn end(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.not_after.min(LAST))
    }

    fn expires_before(&self, time: SystemTime) -> bool {
        self.end() < time
    }

    /// Returns a text that says when it expires, or that it has.
    pub fn expiry(&self) -> String {
        self.expiry_at(SystemTime::now())
    }

    fn expiry_at(&self, now: SystemTime) -> String {
        let at = humantime::format_rfc3339_seconds(self.end());
        match self.end().duration_since(now) {
            Ok(left) => format!("expires at {at}, in {}", rounded(left)),
            Err(_) => format!("has expired at {at}"),
        }
    }
}

/// Returns a time in its largest unit.
fn rounded(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0..120 => format!("{minutes} minutes"),
        120..2880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 60 / 24),
    }
}

/// The text of a certificate for another process.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.not_after, self.file)
    }
}

impl FromStr for Certificate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a number of seconds, and a file".to_owned();
        let (not_after, file) = text.split_once(' ').ok_or_else(wrong)?;
        let not_after: u64 = not_after.parse().map_err(|_| wrong())?;
        Ok(Certificate { file: printable(file, MAX_NAME), not_after: not_after.min(LAST) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_when_it_expires() {
        let certificate = Certificate { file: "a b.pem".to_owned(), not_after: 1_900_000_000 };
        for (before, text) in [
            (10 * 24 * 3600 + 1, "expires at 2030-03-17T17:46:40Z, in 10 days"),
            (3 * 3600, "expires at 2030-03-17T17:46:40Z, in 3 hours"),
            (61, "expires at 2030-03-17T17:46:40Z, in 1 minutes"),
            (0, "expires at 2030-03-17T17:46:40Z, in 0 minutes"),
        ] {
            let now = UNIX_EPOCH + Duration::from_secs(1_900_000_000 - before);
            assert_eq!(certificate.expiry_at(now), text);
        }
        let later = UNIX_EPOCH + Duration::from_secs(1_900_000_001);
        assert_eq!(certificate.expiry_at(later), "has expired at 2030-03-17T17:46:40Z");
        assert!(certificate.expires_before(later) && !certificate.expires_before(UNIX_EPOCH));
        // A certificate that never ends, and a number that no certificate has.
        let never = Certificate { not_after: u64::MAX, ..certificate.clone() };
        assert!(never.expiry_at(later).starts_with("expires at 9999-12-31T23:59:59Z"), "{never}");
        assert_eq!(certificate.to_string().parse(), Ok(certificate));
        for wrong in ["", "1", "x a", "-1 a", "99999999999999999999 a"] {
            assert!(wrong.parse::<Certificate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_certificates_that_are_shown_are_bounded_and_differ_in_their_files() {
        let mut all = Vec::new();
        for at in 0..1000 {
            add(&mut all, Certificate { file: format!("{}.pem", at % 500), not_after: 1000 - at });
        }
        assert_eq!(all.len(), MAX_CERTIFICATES);
        assert_eq!(all[0], Certificate { file: "0.pem".to_owned(), not_after: 500 });
    }
}
