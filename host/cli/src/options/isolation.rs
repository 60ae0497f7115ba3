//! Options that restrict the processes that serve.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use clap::Args;
use socketserver_jail::JailMode;

use super::words;
use crate::values::owner::{self, Identity};

/// The jail and the user of the processes that serve.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Isolation")]
pub struct IsolationOptions {
    /// Confine forked processes, no others.
    #[arg(long, value_name = "MODE", value_parser = words::jail(), hide_possible_values = true)]
    #[arg(long_help = "Confine the processes of --concurrency forking and --workers. In the \
        jail they have no files, no other sockets, no programs, no signals and no new code:\n\
        - require: do not start without all walls of the jail\n\
        - try: use the walls that this machine offers\n\
        - off: no jail\n\
        A server without forked processes has no jail, and refuses the first two")]
    pub jail: Option<JailMode>,

    /// Run requests as this user, by name or number; requires root.
    ///
    /// The switch comes after the sockets are bound. With --concurrency forking or --workers
    /// only the child processes switch; otherwise the server itself does. The group defaults
    /// to the user's primary group.
    #[arg(long, value_name = "USER[:GROUP]", value_parser = owner::identity)]
    pub user: Option<Identity>,
}
