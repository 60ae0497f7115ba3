//! The options that let a handler see something of the host.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use clap::Args;
use socketserver_sandbox::Dir;

use crate::{dir, env};

/// What of the host a handler may see: nothing, without these.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What the handler may see of the host")]
pub struct Grants {
    /// Give the handler an environment variable; without a value, with the one
    /// that it has here. May be given more than once; of one name the last
    /// counts.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = env::parse)]
    pub env: Vec<(String, String)>,

    /// Give the handler the directory HOST, which it calls GUEST, with all that
    /// is in it: to read and to change, or with :ro to read. How much it writes
    /// is not limited. May be given more than once.
    #[arg(long, value_name = "HOST::GUEST[:ro]", value_parser = dir::parse)]
    pub dir: Vec<Dir>,
}

impl Grants {
    /// The environment of the handler: of each name the last value, in the order
    /// of the names.
    pub fn env(&self) -> Vec<(String, String)> {
        let variables: std::collections::BTreeMap<_, _> = self.env.iter().cloned().collect();
        variables.into_iter().collect()
    }

    /// How much of an import is granted that is empty otherwise.
    pub fn len(&self, import: &str) -> usize {
        match interface(import) {
            ENVIRONMENT => self.env().len(),
            PREOPENS => self.dir.len(),
            _ => 0,
        }
    }
}

const ENVIRONMENT: &str = "wasi:cli/environment";
const PREOPENS: &str = "wasi:filesystem/preopens";

fn interface(import: &str) -> &str {
    import.split_once('@').map_or(import, |(interface, _)| interface)
}

/// The option that fills an import which is empty without it.
pub fn option(import: &str) -> Option<&'static str> {
    match interface(import) {
        ENVIRONMENT => Some("--env NAME=VALUE"),
        PREOPENS => Some("--dir HOST::GUEST[:ro]"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_name_the_last_counts() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = vec![pair("B", "1"), pair("A", "2"), pair("B", "3")];
        let grants = Grants { env, dir: vec![] };
        assert_eq!(grants.env(), [pair("A", "2"), pair("B", "3")]);
    }
}
