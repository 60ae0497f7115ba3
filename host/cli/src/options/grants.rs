//! Options that show the handler a part of the host. Without them it sees nothing.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::collections::BTreeMap;

use clap::Args;
use socketserver_sandbox::Dir;

use crate::values::{dir, env};

/// The environment variables and directories that the handler sees.
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
}

impl GrantOptions {
    /// Returns the environment of the handler, sorted by name. The last value of each name
    /// counts.
    pub fn env(&self) -> Vec<(String, String)> {
        self.env.iter().cloned().collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    /// Returns the number of things that an import shows, which is empty without a grant.
    pub fn count_for(&self, import: &str) -> usize {
        match interface(import) {
            ENVIRONMENT => self.env().len(),
            PREOPENS => self.dir.len(),
            _ => 0,
        }
    }
}

const ENVIRONMENT: &str = "wasi:cli/environment";
const PREOPENS: &str = "wasi:filesystem/preopens";

/// Returns the name of an import without its version.
fn interface(import: &str) -> &str {
    import.split_once('@').map_or(import, |(interface, _)| interface)
}

/// Returns the option that fills an import which is empty without it.
pub fn granting_option(import: &str) -> Option<&'static str> {
    match interface(import) {
        ENVIRONMENT => Some("--env NAME=VALUE"),
        PREOPENS => Some("--dir HOST::GUEST[:ro]"),
        _ => None,
    }
}

/// Returns `true` if every call of an import is denied, although a handler may import it.
pub fn is_denied(import: &str) -> bool {
    import.starts_with("wasi:sockets/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_name_counts() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = vec![pair("B", "1"), pair("A", "2"), pair("B", "3")];
        let grants = GrantOptions { env, dir: vec![] };
        assert_eq!(grants.env(), [pair("A", "2"), pair("B", "3")]);
    }
}
