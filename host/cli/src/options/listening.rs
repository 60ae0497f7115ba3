//! Options for listening sockets.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use clap::{ArgAction, Args};

use crate::values::endpoint::{self, Bind};
use crate::values::owner::{self, Owner};

/// The addresses of the server, and the files of its Unix sockets.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listening")]
pub struct ListeningOptions {
    /// Listen at this address, such as tcp://0.0.0.0:80; repeatable.
    ///
    /// tcp://HOST:PORT or udp://HOST:PORT, with IPv6 addresses in brackets; port 0 takes a
    /// free port. tls://HOST:PORT is TCP with the TLS of --tls-cert; with such an address the
    /// others have no TLS. unix://PATH for streams and unixgram://PATH for datagrams; @NAME in place
    /// of a path is an abstract name. Options of the socket follow a question mark, such as
    /// udp://0.0.0.0:514?rcvbuf=4MiB. systemd://NAME takes the sockets of that name that
    /// systemd passes, and systemd:// those that no other --bind names. By default the server
    /// listens on 127.0.0.1:9999, with TCP or UDP as the handler needs.
    #[arg(long, value_name = "URL", value_parser = endpoint::bind)]
    pub bind: Vec<Bind>,

    /// Remove the socket file of an earlier server that has ended.
    ///
    /// The kernel leaves the file of a Unix socket behind. By default its address is then in
    /// use, as in Python. The server never removes the file of a socket that is open.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    #[arg(hide_short_help = true, hide_possible_values = true)]
    pub remove_stale_socket: Option<bool>,

    /// Set the permissions of socket files, such as 660.
    ///
    /// By default they are 777 less the umask.
    #[arg(long, value_name = "MODE", value_parser = owner::mode, hide_short_help = true)]
    pub socket_mode: Option<u32>,

    /// Set the owner of socket files: USER, USER:GROUP or :GROUP.
    ///
    /// Each is a name or a number.
    #[arg(long, value_name = "OWNER", value_parser = owner::owner, hide_short_help = true)]
    pub socket_owner: Option<Owner>,
}
