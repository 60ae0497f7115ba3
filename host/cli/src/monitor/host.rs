//! The names by which clients may ask. A page of a stranger can have its own name resolved to the
//! address of the monitor, and then read what a browser gets from it (DNS rebinding). The browser
//! still sends the name, as the header `Host`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use rustix::net::{SocketAddr, getsockname};

/// The paths that a client may ask for by a name of the DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// All: it came to a Unix socket, which no page reaches.
    All,
    /// The paths for machines: it came from a network, where names are usual.
    ForMachines,
    /// None: it came from this machine, whose browsers have pages of strangers.
    None,
}

impl Named {
    /// Returns the rule for a connection.
    pub fn rule(stream: impl AsFd) -> Named {
        let Ok(address) = getsockname(stream) else { return Named::None };
        match SocketAddr::try_from(address) {
            Ok(address) if address.ip().to_canonical().is_loopback() => Named::None,
            Ok(_) => Named::ForMachines,
            Err(_) => Named::All,
        }
    }

    /// Returns true if a client that sent this `Host` may ask for `path`.
    pub fn permits(self, host: &str, path: &str) -> bool {
        let is_for_machines = ["/metrics", "/healthz", "/readyz"].contains(&path);
        match self {
            Named::All => true,
            Named::ForMachines => is_for_machines || is_own(host),
            Named::None => is_own(host),
        }
    }
}

/// Returns true for an address, and for a name that no stranger can have: `localhost`, and a name
/// without a dot.
fn is_own(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split(']').next().unwrap_or_default();
        return address.split('%').next().is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.split(':').next().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_localhost =
        name.rsplit('.').next().is_some_and(|label| label.eq_ignore_ascii_case("localhost"));
    is_localhost || !name.contains('.') || name.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_dns_is_that_of_a_stranger() {
        for (host, expected) in [
            ("127.0.0.1:9464", true),
            ("10.1.2.3", true),
            ("[::1]:9464", true),
            ("[fe80::1%25eth0]", true),
            ("localhost:9464", true),
            ("LocalHost.", true),
            ("a.localhost", true),
            ("web1:9464", true),
            ("", true),
            ("stranger.example", false),
            ("stranger.example.:80", false),
            ("127.0.0.1.stranger.example", false),
            ("localhost.stranger.example:9464", false),
            ("[stranger.example]", false),
        ] {
            assert_eq!(Named::None.permits(host, "/status"), expected, "{host}");
            assert_eq!(Named::None.permits(host, "/metrics"), expected, "{host}");
            assert_eq!(Named::ForMachines.permits(host, "/"), expected, "{host}");
            assert!(Named::ForMachines.permits(host, "/metrics"), "{host}");
            assert!(Named::All.permits(host, "/status"), "{host}");
        }
    }
}
