//! Options for proxies in front of the server.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use socketserver::ProxyProtocol;
use socketserver::access::ClientSet;

use crate::values::{access, units};

/// The proxies that name the clients of their connections.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clients behind proxies")]
pub struct ProxyOptions {
    /// Take connections from these proxies only; repeatable.
    ///
    /// The proxies name their clients. A proxy is written as a network such as 10.0.0.0/8, an address, or for Unix sockets user:NAME or group:NAME.
    /// Each connection must begin with a header of the PROXY protocol, version 1 or 2; all
    /// others are refused. The handler, the log and the rules about clients then see the client
    /// that the header names. A header with LOCAL or UNKNOWN leaves the proxy as the client. The
    /// option applies to all sockets; those for datagrams cannot have it.
    #[arg(long, value_name = "WHO", value_parser = access::client)]
    pub proxy_from: Vec<ClientSet>,

    /// Refuse a connection without its header after this.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub proxy_timeout: Option<Duration>,
}

impl ProxyOptions {
    /// Returns the proxies that the options name, if they name any.
    ///
    /// # Errors
    ///
    /// There is a timeout, and there are no proxies.
    pub fn settings(self) -> Result<Option<ProxyProtocol>> {
        if self.proxy_from.is_empty() {
            if self.proxy_timeout.is_some() {
                bail!("--proxy-timeout is for the headers of proxies: name them with --proxy-from")
            }
            return Ok(None);
        }
        let timeout = self.proxy_timeout.unwrap_or(ProxyProtocol::TIMEOUT);
        Ok(Some(ProxyProtocol::from_proxies(self.proxy_from).timeout(timeout)))
    }
}
