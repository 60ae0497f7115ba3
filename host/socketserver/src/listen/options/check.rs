//! Finding an option by its name, and checking its value.

use super::ListenOptions;
use super::error::OptionError;
use super::table::UrlOption;
use crate::address::Address;

/// The smallest similarity of a wrong name to a right one that is suggested, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.7;

impl UrlOption {
    /// Returns the option of this name.
    pub(super) fn find(name: &str) -> Result<&'static Self, OptionError> {
        let found = Self::ALL.iter().find(|option| option.name == name);
        found.ok_or_else(|| OptionError::Unknown { name: name.to_owned(), nearest: nearest(name) })
    }

    /// Parses `text` and sets the option.
    pub(super) fn parse_into(
        &'static self,
        options: &mut ListenOptions,
        text: &str,
    ) -> Result<(), OptionError> {
        if self.name != "group" && !self.values(options).is_empty() {
            return Err(OptionError::Twice { option: self });
        }
        let wrong = || OptionError::Value { option: self, value: text.to_owned() };
        (self.parse)(options, text).ok_or_else(wrong)
    }

    /// Checks that the option may have this value on a socket of this scheme and address.
    pub(super) fn check(
        &'static self,
        value: &str,
        scheme: &str,
        address: &Address,
    ) -> Result<(), OptionError> {
        if !self.schemes.contains(&scheme) {
            return Err(OptionError::Scheme { option: self, scheme: scheme.to_owned() });
        }
        let mut parsed = ListenOptions::new();
        self.parse_into(&mut parsed, value)?;
        let is_v6 = matches!(address, Address::Inet6(_));
        if parsed.only_v6.is_some() && !is_v6 {
            return Err(OptionError::NotIpv6 { option: self });
        }
        if parsed.groups.iter().any(|group| group.address.is_ipv6() != is_v6) {
            return Err(OptionError::Family { option: self, value: value.to_owned() });
        }
        Ok(())
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let similar = |option: &UrlOption| {
        let contains = !name.is_empty() && name.contains(option.name);
        if contains { 1.0 } else { strsim::jaro_winkler(&name, option.name) }
    };
    let all = UrlOption::ALL.iter().map(|option| (similar(option), option.name));
    let best = all.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(similar, _)| *similar >= MIN_SIMILARITY).map(|(_, name)| name)
}
