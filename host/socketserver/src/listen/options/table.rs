//! What each option is called in a URL, what it takes, and what it sets.

use std::fmt;

use super::ListenOptions;
use super::error::OptionError;
use super::value::{
    buffer, defer, flag, group, interface, keep_alive, number, show_group, show_keep_alive,
    show_seconds, show_size,
};
use crate::address::Address;

/// How similar a wrong name must be to a right one to be taken for it, of 1.
const SIMILAR: f64 = 0.7;

/// An option of [`ListenOptions`], as a URL has it.
///
/// Its [`Display`](fmt::Display) is a row of a table in Markdown, under the heading
/// [`HEADING`](Self::HEADING).
pub struct ListenOption {
    /// Its name.
    pub name: &'static str,
    /// The schemes of the URLs that can have it.
    pub of: &'static [&'static str],
    /// What its value looks like, and its range.
    pub value: &'static str,
    /// What it does.
    pub does: &'static str,
    /// The option of the kernel's that it sets.
    pub sets: &'static str,
    /// The page of the manual that describes that.
    pub manual: &'static str,
    /// Parses a value; there is none if it is wrong.
    read: fn(&mut ListenOptions, &str) -> Option<()>,
    /// The values that were set.
    show: fn(&ListenOptions) -> Vec<String>,
}

const IP: &[&str] = &["tcp", "udp"];
const TCP: &[&str] = &["tcp"];

const FLAG: &str = "true or false";
const BUFFER: &str = "a size from 4KiB to 512MiB, such as 4MiB";
const INTERFACE: &str = "the name of a network interface, of 1 to 15 letters, such as eth0";

/// The option of that name, whose field is set by what `read` makes of a value.
macro_rules! option {
    ($field:ident, $read:expr, $show:expr, $($fact:ident: $text:expr,)*) => {
        ListenOption {
            $($fact: $text,)*
            read: |options, text| {
                options.$field = Some($read(text)?);
                Some(())
            },
            show: |options| options.$field.iter().map($show).collect(),
        }
    };
}

impl ListenOption {
    /// All of them, in the order in which they are printed.
    pub const ALL: &'static [ListenOption] = &[
        option! {
            receive_buffer, buffer, |bytes| show_size(*bytes),
            name: "rcvbuf",
            of: IP,
            value: BUFFER,
            does: "how much may wait to be received",
            sets: "SO_RCVBUF",
            manual: "socket(7)",
        },
        option! {
            send_buffer, buffer, |bytes| show_size(*bytes),
            name: "sndbuf",
            of: &["tcp", "udp", "unixgram"],
            value: BUFFER,
            does: "how much may wait to be sent",
            sets: "SO_SNDBUF",
            manual: "socket(7)",
        },
        option! {
            backlog, |text| number(text, 0..=65_535), ToString::to_string,
            name: "backlog",
            of: &["tcp", "unix"],
            value: "a number from 0 to 65535",
            does: "how many connections may wait to be accepted; instead of `--request-queue-size`",
            sets: "",
            manual: "listen(2)",
        },
        option! {
            only_v6, flag, ToString::to_string,
            name: "v6only",
            of: IP,
            value: FLAG,
            does: "whether an IPv6 socket has no IPv4 clients; then `0.0.0.0` and `[::]` can have one port",
            sets: "IPV6_V6ONLY",
            manual: "ipv6(7)",
        },
        option! {
            device, interface, Clone::clone,
            name: "device",
            of: IP,
            value: INTERFACE,
            does: "takes only what comes by that interface",
            sets: "SO_BINDTODEVICE",
            manual: "socket(7)",
        },
        option! {
            reuse_address, flag, ToString::to_string,
            name: "reuseaddr",
            of: IP,
            value: FLAG,
            does: "instead of `--allow-reuse-address`",
            sets: "SO_REUSEADDR",
            manual: "socket(7)",
        },
        option! {
            reuse_port, flag, ToString::to_string,
            name: "reuseport",
            of: IP,
            value: FLAG,
            does: "instead of `--allow-reuse-port`",
            sets: "SO_REUSEPORT",
            manual: "socket(7)",
        },
        ListenOption {
            name: "group",
            of: &["udp"],
            value: "the address of a multicast group, with an interface or without, such as 239.1.2.3 or 239.1.2.3%eth0",
            does: "receives what is sent to that group; may be given more than once. A socket bound to a group joins it by itself",
            sets: "IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP",
            manual: "ip(7), ipv6(7)",
            read: |options, text| {
                options.groups.push(group(text)?);
                Some(())
            },
            show: |options| options.groups.iter().map(show_group).collect(),
        },
        option! {
            nodelay, flag, ToString::to_string,
            name: "nodelay",
            of: TCP,
            value: FLAG,
            does: "whether connections send what is written at once",
            sets: "TCP_NODELAY",
            manual: "tcp(7)",
        },
        option! {
            keep_alive, keep_alive, |keep_alive| show_keep_alive(*keep_alive),
            name: "keepalive",
            of: TCP,
            value: "true, false, or IDLE[,INTERVAL[,COUNT]] with times from 1s to 32767s and a count from 1 to 127, such as 60s,10s,6",
            does: "whether silent connections are probed, after how long, how often, and how many times",
            sets: "SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT",
            manual: "socket(7), tcp(7)",
        },
        option! {
            defer_accept, defer, |longest| show_seconds(*longest),
            name: "defer-accept",
            of: TCP,
            value: "a time in whole seconds from 1s to 1h",
            does: "connections are taken when their first data is there, or after that time",
            sets: "TCP_DEFER_ACCEPT",
            manual: "tcp(7)",
        },
        option! {
            fast_open, |text| number(text, 1..=65_535), ToString::to_string,
            name: "fastopen",
            of: TCP,
            value: "a number from 1 to 65535",
            does: "how many connections may begin with data in their first packet, where `net.ipv4.tcp_fastopen` allows it",
            sets: "TCP_FASTOPEN",
            manual: "tcp(7)",
        },
    ];

    /// The first two lines of a table of these in Markdown.
    pub const HEADING: &'static str = "| option | for | value | what it does | what it sets |\n\
        |---|---|---|---|---|";

    /// The option of that name.
    pub(super) fn find(name: &str) -> Result<&'static Self, OptionError> {
        let found = Self::ALL.iter().find(|option| option.name == name);
        found.ok_or_else(|| OptionError::Unknown { name: name.to_owned(), nearest: nearest(name) })
    }

    /// Sets it to the value of that text.
    pub(super) fn read_into(
        &'static self,
        options: &mut ListenOptions,
        text: &str,
    ) -> Result<(), OptionError> {
        if self.name != "group" && !self.values(options).is_empty() {
            return Err(OptionError::Twice { option: self });
        }
        let wrong = || OptionError::Value { option: self, value: text.to_owned() };
        (self.read)(options, text).ok_or_else(wrong)
    }

    pub(super) fn values(&self, options: &ListenOptions) -> Vec<String> {
        (self.show)(options)
    }

    /// Whether it may have that value, on a socket of that scheme and address.
    pub(super) fn check(
        &'static self,
        value: &str,
        scheme: &str,
        address: &Address,
    ) -> Result<(), OptionError> {
        if !self.of.contains(&scheme) {
            return Err(OptionError::Scheme { option: self, scheme: scheme.to_owned() });
        }
        let mut read = ListenOptions::new();
        self.read_into(&mut read, value)?;
        let is_v6 = matches!(address, Address::Inet6(_));
        if read.only_v6.is_some() && !is_v6 {
            return Err(OptionError::NotIpv6 { option: self });
        }
        if read.groups.iter().any(|group| group.address.is_ipv6() != is_v6) {
            return Err(OptionError::Family { option: self, value: value.to_owned() });
        }
        Ok(())
    }

    /// The schemes of the URLs that can have it.
    pub(super) fn schemes(&self) -> String {
        self.of.iter().map(|scheme| format!("{scheme}://")).collect::<Vec<_>>().join(", ")
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let similar = |option: &ListenOption| {
        let contains = !name.is_empty() && name.contains(option.name);
        if contains { 1.0 } else { strsim::jaro_winkler(&name, option.name) }
    };
    let all = ListenOption::ALL.iter().map(|option| (similar(option), option.name));
    let best = all.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(similar, _)| *similar >= SIMILAR).map(|(_, name)| name)
}

impl fmt::Display for ListenOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListenOption { name, of, value, does, sets, manual, .. } = self;
        let of: Vec<_> = of.iter().map(|scheme| format!("`{scheme}`")).collect();
        let sets: Vec<_> =
            sets.split(", ").filter(|set| !set.is_empty()).map(|set| format!("`{set}` ")).collect();
        let sets = sets.join("");
        write!(f, "| `{name}` | {} | {value} | {does} | {sets}{manual} |", of.join(", "))
    }
}

impl fmt::Debug for ListenOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListenOption").field(&self.name).finish()
    }
}

impl PartialEq for ListenOption {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ListenOption {}
