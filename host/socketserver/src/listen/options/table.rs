//! The table of options: the name of each in a URL, its values, and the socket option that
//! it sets.

use std::fmt;

use super::ListenOptions;
use super::value::{
    parse_buffer, parse_defer, parse_flag, parse_group, parse_interface, parse_keep_alive,
    parse_number, show_group, show_keep_alive, show_seconds, show_size,
};

/// An option of [`ListenOptions`], in its URL form.
///
/// Its [`Display`](fmt::Display) is a row of a table in Markdown, under the heading
/// [`HEADING`](Self::HEADING).
pub struct UrlOption {
    /// The name.
    pub name: &'static str,
    /// The schemes of the URLs that can have it.
    pub schemes: &'static [&'static str],
    /// The form of the value, and its range.
    pub value: &'static str,
    /// The effect.
    pub does: &'static str,
    /// The socket option of the kernel that it sets.
    pub sets: &'static str,
    /// The manual page of that socket option.
    pub manual: &'static str,
    /// Parses a value and sets it. Returns `None` if the value is wrong.
    pub(super) parse: fn(&mut ListenOptions, &str) -> Option<()>,
    /// Returns the values that are set, as text.
    show: fn(&ListenOptions) -> Vec<String>,
}

const IP: &[&str] = &["tcp", "udp"];
const TCP: &[&str] = &["tcp"];

const FLAG: &str = "true or false";
const BUFFER: &str = "a size from 4KiB to 512MiB, such as 4MiB";
const INTERFACE: &str = "the name of a network interface, of 1 to 15 letters, such as eth0";

/// Declares an option with a field of [`ListenOptions`], a parser and a printer.
macro_rules! option {
    ($field:ident, $parse:expr, $show:expr, $($fact:ident: $text:expr,)*) => {
        UrlOption {
            $($fact: $text,)*
            parse: |options, text| {
                options.$field = Some($parse(text)?);
                Some(())
            },
            show: |options| options.$field.iter().map($show).collect(),
        }
    };
}

impl UrlOption {
    /// Every option, in the order in which they are printed.
    pub const ALL: &'static [UrlOption] = &[
        option! {
            receive_buffer, parse_buffer, |bytes| show_size(*bytes),
            name: "rcvbuf",
            schemes: IP,
            value: BUFFER,
            does: "how much may wait to be received",
            sets: "SO_RCVBUF",
            manual: "socket(7)",
        },
        option! {
            send_buffer, parse_buffer, |bytes| show_size(*bytes),
            name: "sndbuf",
            schemes: &["tcp", "udp", "unixgram"],
            value: BUFFER,
            does: "how much may wait to be sent",
            sets: "SO_SNDBUF",
            manual: "socket(7)",
        },
        option! {
            backlog, |text| parse_number(text, 0..=65_535), ToString::to_string,
            name: "backlog",
            schemes: &["tcp", "unix"],
            value: "a number from 0 to 65535",
            does: "how many connections may wait to be accepted; instead of `--request-queue-size`",
            sets: "",
            manual: "listen(2)",
        },
        option! {
            only_v6, parse_flag, ToString::to_string,
            name: "v6only",
            schemes: IP,
            value: FLAG,
            does: "whether an IPv6 socket has no IPv4 clients; then `0.0.0.0` and `[::]` can have one port",
            sets: "IPV6_V6ONLY",
            manual: "ipv6(7)",
        },
        option! {
            device, parse_interface, Clone::clone,
            name: "device",
            schemes: IP,
            value: INTERFACE,
            does: "takes only what comes by that interface",
            sets: "SO_BINDTODEVICE",
            manual: "socket(7)",
        },
        option! {
            reuse_address, parse_flag, ToString::to_string,
            name: "reuseaddr",
            schemes: IP,
            value: FLAG,
            does: "instead of `--allow-reuse-address`",
            sets: "SO_REUSEADDR",
            manual: "socket(7)",
        },
        option! {
            reuse_port, parse_flag, ToString::to_string,
            name: "reuseport",
            schemes: IP,
            value: FLAG,
            does: "instead of `--allow-reuse-port`",
            sets: "SO_REUSEPORT",
            manual: "socket(7)",
        },
        UrlOption {
            name: "group",
            schemes: &["udp"],
            value: "the address of a multicast group, with an interface or without, such as 239.1.2.3 or 239.1.2.3%eth0",
            does: "receives what is sent to that group; may be given more than once. A socket bound to a group joins it by itself",
            sets: "IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP",
            manual: "ip(7), ipv6(7)",
            parse: |options, text| {
                options.groups.push(parse_group(text)?);
                Some(())
            },
            show: |options| options.groups.iter().map(show_group).collect(),
        },
        option! {
            nodelay, parse_flag, ToString::to_string,
            name: "nodelay",
            schemes: TCP,
            value: FLAG,
            does: "whether connections send what is written at once",
            sets: "TCP_NODELAY",
            manual: "tcp(7)",
        },
        option! {
            keep_alive, parse_keep_alive, |keep_alive| show_keep_alive(*keep_alive),
            name: "keepalive",
            schemes: TCP,
            value: "true, false, or IDLE[,INTERVAL[,COUNT]] with times from 1s to 32767s and a count from 1 to 127, such as 60s,10s,6",
            does: "whether silent connections are probed, after how long, how often, and how many times",
            sets: "SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT",
            manual: "socket(7), tcp(7)",
        },
        option! {
            defer_accept, parse_defer, |longest| show_seconds(*longest),
            name: "defer-accept",
            schemes: TCP,
            value: "a time in whole seconds from 1s to 1h",
            does: "connections are taken when their first data is there, or after that time",
            sets: "TCP_DEFER_ACCEPT",
            manual: "tcp(7)",
        },
        option! {
            fast_open, |text| parse_number(text, 1..=65_535), ToString::to_string,
            name: "fastopen",
            schemes: TCP,
            value: "a number from 1 to 65535",
            does: "how many connections may begin with data in their first packet, where `net.ipv4.tcp_fastopen` allows it",
            sets: "TCP_FASTOPEN",
            manual: "tcp(7)",
        },
    ];

    /// The first two lines of the table in Markdown.
    pub const HEADING: &'static str = "| option | for | value | what it does | what it sets |\n\
        |---|---|---|---|---|";

    pub(super) fn values(&self, options: &ListenOptions) -> Vec<String> {
        (self.show)(options)
    }

    /// Returns its schemes as a list in text.
    pub(super) fn scheme_list(&self) -> String {
        self.schemes.iter().map(|scheme| format!("{scheme}://")).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for UrlOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UrlOption { name, schemes, value, does, sets, manual, .. } = self;
        let schemes: Vec<_> = schemes.iter().map(|scheme| format!("`{scheme}`")).collect();
        let sets: Vec<_> =
            sets.split(", ").filter(|set| !set.is_empty()).map(|set| format!("`{set}` ")).collect();
        let sets = sets.join("");
        write!(f, "| `{name}` | {} | {value} | {does} | {sets}{manual} |", schemes.join(", "))
    }
}

impl fmt::Debug for UrlOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UrlOption").field(&self.name).finish()
    }
}

impl PartialEq for UrlOption {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for UrlOption {}
