//! Options that show the handler a part of the host. Without them it sees nothing.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::collections::BTreeMap;

use clap::Args;
use socketserver_sandbox::{Dir, HostName, NetworkGrants, SocketGrant};

use crate::values::{dir, env};

/// The environment variables and directories that the handler sees, and the sockets that it may
/// open.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Access to the host")]
pub struct GrantOptions {
    /// Give the handler an environment variable; repeatable.
    ///
    /// Without a value, the variable has the value of the server's own environment. The last
    /// of several values for one name counts.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = env::parse)]
    pub env: Vec<(String, String)>,

    /// Give the handler the directory HOST under the name GUEST; repeatable.
    ///
    /// The handler may read and change what is in the directory, or only read it with :ro.
    /// Nothing limits how much it writes.
    #[arg(long, value_name = "HOST::GUEST[:ro]", value_parser = dir::parse)]
    pub dir: Vec<Dir>,

    /// Let the handler connect and send to these addresses; repeatable.
    ///
    /// URL is tcp://HOST:PORT, udp://HOST:PORT or unix://PATH. HOST is a name, an address, or a
    /// network such as 10.0.0.0/8 or [2001:db8::/32]. PORT is a number, a range such as
    /// 8000-8010, or * for all. The handler may look a name up, and reach its public addresses:
    /// a private one must be granted as an address.
    #[arg(long, value_name = "URL")]
    pub connect: Vec<SocketGrant>,

    /// Let the handler bind and listen at these addresses; repeatable.
    ///
    /// URL is written as for --connect, without names. Port 0 stands for a free port that the
    /// kernel chooses. The sockets of the server itself are those of --bind.
    #[arg(long, value_name = "URL", value_parser = SocketGrant::parse_listen)]
    pub listen_grant: Vec<SocketGrant>,

    /// Let the handler look up this name; repeatable.
    ///
    /// A lookup is a way out: it tells the name's servers what the handler asks for.
    #[arg(long, value_name = "NAME")]
    pub resolve: Vec<HostName>,

    /// Let the handler open raw sockets, which reach every address.
    ///
    /// The kernel asks for CAP_NET_RAW too.
    #[arg(long)]
    pub raw: bool,
}

impl GrantOptions {
    /// Returns the environment of the handler, sorted by name. The last value of each name
    /// counts.
    pub fn env(&self) -> Vec<(String, String)> {
        self.env.iter().cloned().collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    /// Returns the sockets that the handler may open.
    pub fn network(&self) -> NetworkGrants {
        NetworkGrants {
            connect: self.connect.clone(),
            listen: self.listen_grant.clone(),
            resolve: self.resolve.clone(),
            raw: self.raw,
        }
    }

    fn sockets(&self) -> usize {
        self.connect.len() + self.listen_grant.len() + self.resolve.len()
    }

    /// Returns the number of things that an import shows, which is empty without a grant.
    pub fn count_for(&self, import: &str) -> usize {
        match interface(import) {
            ENVIRONMENT => self.env().len(),
            PREOPENS => self.dir.len(),
            NETWORK => self.sockets() + usize::from(self.raw),
            TCP | UDP | NAMES => self.sockets(),
            _ => 0,
        }
    }
}

const ENVIRONMENT: &str = "wasi:cli/environment";
const PREOPENS: &str = "wasi:filesystem/preopens";
const NETWORK: &str = "socketserver:handler/network";
const TCP: &str = "wasi:sockets/tcp-create-socket";
const UDP: &str = "wasi:sockets/udp-create-socket";
const NAMES: &str = "wasi:sockets/ip-name-lookup";

/// Returns the name of an import without its version.
fn interface(import: &str) -> &str {
    import.split_once('@').map_or(import, |(interface, _)| interface)
}

/// Returns the option that fills an import which is empty without it.
pub fn granting_option(import: &str) -> Option<&'static str> {
    match interface(import) {
        ENVIRONMENT => Some("--env NAME=VALUE"),
        PREOPENS => Some("--dir HOST::GUEST[:ro]"),
        NETWORK | TCP | UDP | NAMES => Some("--connect URL"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_name_counts() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = vec![pair("B", "1"), pair("A", "2"), pair("B", "3")];
        let grants = GrantOptions { env, ..GrantOptions::default() };
        assert_eq!(grants.env(), [pair("A", "2"), pair("B", "3")]);
    }
}
