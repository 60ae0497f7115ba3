//! The options of one listening socket.
//!
//! | file | contents |
//! |---|---|
//! | this one | [`ListenOptions`], as a program sets them |
//! | `table` | the name of each option in a URL, its values, and the socket option that it sets |
//! | `check` | finding an option by its name, and checking its value |
//! | `value` | the text form of values |
//! | `error` | the errors of options |
//! | `apply` | setting the options of a socket |

mod apply;
mod check;
mod error;
mod table;
mod value;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

pub(crate) use apply::{join_groups, set_before_bind};
pub use error::OptionError;
pub use table::UrlOption;
pub(crate) use value::{interface_suffix, parse_interface, split_interface};

use crate::address::Address;

/// The options of one listening socket. A Python program sets them on `server.socket`, or
/// in its own `server_bind`.
///
/// In the URL of an [`Endpoint`](crate::Endpoint) they are the query,
/// `udp://0.0.0.0:514?rcvbuf=4MiB`, with the names of [`UrlOption::ALL`]. An option that
/// is not set has the value of the [`ServerBuilder`](crate::ServerBuilder) or of the system.
///
/// ```
/// use socketserver::{Endpoint, ListenOptions};
///
/// let options = ListenOptions::new().receive_buffer(4 << 20).device("lo");
/// let endpoint = Endpoint::udp(([127, 0, 0, 1], 514).into()).with_options(options);
/// assert_eq!(endpoint.to_string(), "udp://127.0.0.1:514?rcvbuf=4MiB&device=lo");
/// assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
/// # Ok::<(), socketserver::EndpointError>(())
/// ```
///
/// A value that is out of range, or an option that the socket does not have, is an error
/// of [`ServerBuilder::build`](crate::ServerBuilder::build).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ListenOptions {
    receive_buffer: Option<u64>,
    send_buffer: Option<u64>,
    backlog: Option<u32>,
    only_v6: Option<bool>,
    device: Option<String>,
    reuse_address: Option<bool>,
    reuse_port: Option<bool>,
    groups: Vec<Group>,
    nodelay: Option<bool>,
    keep_alive: Option<KeepAlive>,
    defer_accept: Option<Duration>,
    fast_open: Option<u32>,
}

/// The probes of connections without traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeepAlive {
    /// No probes.
    Off,
    /// Probes at the intervals of the system: by default after two hours.
    On,
    /// Probes at these intervals, in whole seconds.
    After {
        /// The time without traffic before the first probe: `TCP_KEEPIDLE`.
        idle: Duration,
        /// The time between probes: `TCP_KEEPINTVL`. `None` for that of the system.
        interval: Option<Duration>,
        /// The number of probes without an answer that end the connection: `TCP_KEEPCNT`.
        /// `None` for that of the system.
        count: Option<u32>,
    },
}

/// A multicast group whose datagrams the socket receives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Group {
    address: IpAddr,
    /// The name of the interface; `None` for the interface of the kernel's route.
    interface: Option<String>,
}

impl ListenOptions {
    /// Returns options of which none is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns true if no option is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Sets the number of bytes that may wait to be received: `SO_RCVBUF` of `socket(7)`,
    /// for TCP and UDP sockets; connections inherit it. More than `net.core.rmem_max`
    /// needs `CAP_NET_ADMIN` (`SO_RCVBUFFORCE`).
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u64) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Sets the number of bytes that may wait to be sent: `SO_SNDBUF` of `socket(7)`, for
    /// TCP, UDP and Unix datagram sockets; otherwise as
    /// [`receive_buffer`](Self::receive_buffer), with `net.core.wmem_max`.
    #[must_use]
    pub fn send_buffer(mut self, bytes: u64) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Sets the number of connections that may wait to be accepted: `listen(2)`. Replaces
    /// [`ServerBuilder::request_queue_size`](crate::ServerBuilder::request_queue_size).
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = Some(connections);
        self
    }

    /// Makes an IPv6 socket refuse IPv4 clients: `IPV6_V6ONLY` of `ipv6(7)`. Then
    /// `0.0.0.0` and `[::]` can have the same port.
    #[must_use]
    pub fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = Some(only);
        self
    }

    /// Limits the socket to this network interface: `SO_BINDTODEVICE` of `socket(7)`.
    #[must_use]
    pub fn device(mut self, interface: impl Into<String>) -> Self {
        self.device = Some(interface.into());
        self
    }

    /// Sets `SO_REUSEADDR` of `socket(7)`. Replaces
    /// [`ServerBuilder::allow_reuse_address`](crate::ServerBuilder::allow_reuse_address).
    #[must_use]
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = Some(reuse);
        self
    }

    /// Sets `SO_REUSEPORT` of `socket(7)`. Replaces
    /// [`ServerBuilder::allow_reuse_port`](crate::ServerBuilder::allow_reuse_port).
    #[must_use]
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = Some(reuse);
        self
    }

    /// Joins this multicast group, on the interface of this name, or on the interface of
    /// the kernel's route to the group: `IP_ADD_MEMBERSHIP` of `ip(7)`,
    /// `IPV6_ADD_MEMBERSHIP` of `ipv6(7)`.
    ///
    /// A socket that is bound to a group joins it by itself. A socket with groups does not
    /// receive from groups that only other sockets have joined (`IP_MULTICAST_ALL`).
    #[must_use]
    pub fn group(mut self, address: IpAddr, interface: Option<&str>) -> Self {
        self.groups.push(Group { address, interface: interface.map(str::to_owned) });
        self
    }

    /// Makes connections send small writes at once: `TCP_NODELAY` of `tcp(7)`.
    #[must_use]
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = Some(nodelay);
        self
    }

    /// Probes connections without traffic, and ends them if the client is
    /// gone: `SO_KEEPALIVE` of `socket(7)`, and three options of `tcp(7)`.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = Some(keep_alive);
        self
    }

    /// Accepts a connection when its first data has come, or after this time, in
    /// whole seconds: `TCP_DEFER_ACCEPT` of `tcp(7)`.
    #[must_use]
    pub fn defer_accept(mut self, longest: Duration) -> Self {
        self.defer_accept = Some(longest);
        self
    }

    /// Accepts data in the first packet of a connection, for this number of connections at
    /// once: `TCP_FASTOPEN` of `tcp(7)`. The system must allow it for servers
    /// (`net.ipv4.tcp_fastopen`).
    #[must_use]
    pub fn fast_open(mut self, connections: u32) -> Self {
        self.fast_open = Some(connections);
        self
    }

    /// Parses the query of a URL with this scheme and address.
    pub(crate) fn parse(query: &str, scheme: &str, address: &Address) -> Result<Self, OptionError> {
        let mut options = ListenOptions::new();
        for option in query.split('&') {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let option = UrlOption::find(name)?;
            option.parse_into(&mut options, value)?;
        }
        options.check(scheme, address)?;
        Ok(options)
    }

    /// Checks that the options fit a socket of this scheme and address, and their ranges.
    pub(crate) fn check(&self, scheme: &str, address: &Address) -> Result<(), OptionError> {
        for option in UrlOption::ALL {
            for value in option.values(self) {
                option.check(&value, scheme, address)?;
            }
        }
        Ok(())
    }

    pub(crate) fn backlog_or(&self, otherwise: u32) -> u32 {
        self.backlog.unwrap_or(otherwise)
    }

    pub(crate) fn reuse_address_or(&self, otherwise: bool) -> bool {
        self.reuse_address.unwrap_or(otherwise)
    }

    pub(crate) fn reuse_port_or(&self, otherwise: bool) -> bool {
        self.reuse_port.unwrap_or(otherwise)
    }

    pub(crate) fn is_only_v6(&self) -> bool {
        self.only_v6 == Some(true)
    }
}

/// Writes the query of a URL, without its question mark.
impl fmt::Display for ListenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = UrlOption::ALL
            .iter()
            .flat_map(|option| option.values(self).into_iter().map(|value| (option.name, value)));
        for (number, (name, value)) in values.enumerate() {
            let separator = if number == 0 { "" } else { "&" };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::Endpoint;

    use super::*;

    #[test]
    fn options_print_as_they_were_written() {
        for text in [
            "tcp://127.0.0.1:0?rcvbuf=4MiB&sndbuf=128KiB&backlog=7&device=eth0.5&reuseaddr=false&reuseport=true&nodelay=true&keepalive=60s,10s,6&defer-accept=30s&fastopen=256",
            "tcp://[::]:80?v6only=true&keepalive=true",
            "tcp://[::]:80?v6only=false&keepalive=false",
            "tcp://127.0.0.1:0?keepalive=60s",
            "tcp://127.0.0.1:0?keepalive=60s,7s",
            "udp://0.0.0.0:514?rcvbuf=5000&group=239.1.2.3&group=239.1.2.4%eth0",
            "udp://[::]:514?group=ff02::1%lo&group=ff05::2",
            "unix:///run/a.sock?backlog=0",
            "unix://@name?backlog=65535",
            "unixgram:///run/a.sock?sndbuf=64KiB",
            "tcp://127.0.0.1:0?rcvbuf=512MiB&sndbuf=4KiB",
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
        }
    }

    #[test]
    fn values_print_in_one_form() {
        for (text, printed) in [
            ("tcp://h:1?rcvbuf=1MB", "rcvbuf=1000000"),
            ("tcp://h:1?rcvbuf=8388608", "rcvbuf=8MiB"),
            ("tcp://h:1?keepalive=2m,1m 5s", "keepalive=120s,65s"),
            ("udp://h:1?group=239.1.2.3%25eth0", "group=239.1.2.3%eth0"),
            ("udp://h:1?group=239.1.2.3%2525g0", "group=239.1.2.3%2525g0"),
            ("tcp://h:1?nodelay=true&rcvbuf=4KiB", "rcvbuf=4KiB&nodelay=true"),
        ] {
            let endpoint: Endpoint = text.replace("h:", "127.0.0.1:").parse().unwrap();
            assert_eq!(endpoint.options().to_string(), printed);
        }
    }

    fn wrong(text: &str) -> String {
        text.parse::<Endpoint>().unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        for (name, nearest) in [
            ("rcvbuff", "rcvbuf"),
            ("so_rcvbuf", "rcvbuf"),
            ("RCVBUF", "rcvbuf"),
            ("reuse-port", "reuseport"),
            ("tcp_nodelay", "nodelay"),
            ("keep-alive", "keepalive"),
            ("deferaccept", "defer-accept"),
            ("ipv6only", "v6only"),
            ("groups", "group"),
        ] {
            let error = wrong(&format!("udp://127.0.0.1:1?{name}=1"));
            let expected =
                format!("listening sockets have no option `{name}`: did you mean `{nearest}`?");
            assert_eq!(error, expected);
        }
        let error = wrong("udp://127.0.0.1:1?xyz=1");
        assert!(error.contains("`xyz`") && error.contains("rcvbuf, sndbuf, backlog"), "{error}");
        assert!(wrong("udp://127.0.0.1:1?").contains("no option ``"));
    }

    #[test]
    fn values_out_of_range_are_answered_with_the_range() {
        for (option, range) in [
            ("rcvbuf=4095", "4KiB to 512MiB"),
            ("rcvbuf=513MiB", "4KiB to 512MiB"),
            ("rcvbuf=-1", "4KiB to 512MiB"),
            ("sndbuf=much", "4KiB to 512MiB"),
            ("sndbuf", "4KiB to 512MiB"),
            ("backlog=65536", "0 to 65535"),
            ("backlog=+1", "0 to 65535"),
            ("fastopen=0", "1 to 65535"),
            ("nodelay=yes", "true or false"),
            ("nodelay=", "true or false"),
            ("defer-accept=0s", "1s to 1h"),
            ("defer-accept=1500ms", "1s to 1h"),
            ("defer-accept=61m", "1s to 1h"),
            ("keepalive=0s", "1s to 32767s"),
            ("keepalive=1s,40000s", "1s to 32767s"),
            ("keepalive=1s,1s,128", "1 to 127"),
            ("keepalive=1s,1s,0", "1 to 127"),
            ("keepalive=1s,1s,1,1", "1 to 127"),
            ("device=a-name-too-long1", "1 to 15"),
            ("device=", "1 to 15"),
            ("device=a/b", "1 to 15"),
        ] {
            let error = wrong(&format!("tcp://127.0.0.1:1?{option}"));
            assert!(error.contains(range) && error.contains("write"), "{error}");
        }
        for group in ["10.0.0.1", "ff02::1%", "239.1.2.3%a b", "x", ""] {
            let error = wrong(&format!("udp://0.0.0.0:1?group={group}"));
            assert!(error.contains("239.1.2.3%eth0"), "{error}");
        }
    }

    #[test]
    fn options_fit_their_sockets_only_and_are_given_once() {
        for (text, says) in [
            ("udp://127.0.0.1:1?nodelay=true", "`nodelay` is for tcp://, not for udp://"),
            ("unix://a?rcvbuf=1MiB", "`rcvbuf` is for tcp://, udp://, not for unix://"),
            ("unixgram://a?backlog=1", "`backlog` is for tcp://, unix://, not for unixgram://"),
            ("tcp://[::1]:1?group=ff02::1", "`group` is for udp://, not for tcp://"),
            ("tcp://0.0.0.0:1?v6only=true", "`v6only` is for IPv6 addresses, such as [::]"),
            ("udp://0.0.0.0:1?group=ff02::1", "`group=ff02::1` is not of the same address family"),
            ("udp://[::]:1?group=239.1.2.3", "`group=239.1.2.3` is not of the same address family"),
            ("tcp://127.0.0.1:1?nodelay=true&nodelay=true", "`nodelay` is given twice"),
        ] {
            let error = wrong(text);
            assert!(error.contains(says), "{error}");
        }
        let groups: Vec<_> = (0..=64).map(|n| format!("group=239.1.2.{n}")).collect();
        let error = wrong(&format!("udp://0.0.0.0:1?{}", groups.join("&")));
        assert!(error.contains("characters"), "{error}");
    }

    #[test]
    fn options_that_a_program_sets_have_the_same_ranges() {
        let address = "tcp://127.0.0.1:1".parse::<Endpoint>().unwrap().address().clone();
        let check = |options: ListenOptions| options.check("tcp", &address);
        assert_eq!(check(ListenOptions::new().receive_buffer(4096)), Ok(()));
        let fraction = Duration::from_millis(1500);
        for (options, name) in [
            (ListenOptions::new().receive_buffer(u64::MAX), "rcvbuf"),
            (ListenOptions::new().device("a&b"), "device"),
            (ListenOptions::new().defer_accept(fraction), "defer-accept"),
            (ListenOptions::new().backlog(1 << 16), "backlog"),
            (ListenOptions::new().only_v6(true), "v6only"),
            (ListenOptions::new().group([239, 0, 0, 1].into(), None), "group"),
        ] {
            let error = check(options).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}")), "{error}");
        }
    }

    #[test]
    fn errors_escape_control_characters() {
        for text in [
            "udp://127.0.0.1:1?\x1b=1",
            "udp://127.0.0.1:1?rcvbuf=\n",
            "udp://0.0.0.0:1?group=\u{202e}",
            "udp://127.0.0.1:1?device=\x07",
        ] {
            let error = wrong(text);
            assert!(error.contains('\\') && !error.contains(char::is_control), "{error:?}");
        }
    }
}
