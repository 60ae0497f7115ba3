//! Options for TLS.

#![allow(clippy::doc_markdown, reason = "--help prints these texts as they stand")]
#![allow(clippy::struct_field_names, reason = "the fields have the names of the options")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use socketserver::{ClientAuth, TlsSettings, TlsVersion};

use super::words;
use crate::values::{tls, units};

/// The certificates of the server, and its rules for TLS.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsOptions {
    /// Speak TLS with the certificate in this file; repeatable.
    ///
    /// PEM: the server's certificate, then those of its issuers. Each has its --tls-key, in the
    /// same order. A client gets the first certificate that is for the name that it asks for, or
    /// the first of all. All addresses have TLS, or those that say so if --bind names any: with
    /// tls://HOST:PORT, tls+unix://PATH or tls+systemd://NAME. Datagrams cannot have it.
    /// The handler sends and receives plain bytes. The files are read at the start.
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Vec<PathBuf>,

    /// Take the private key of a certificate from this file; repeatable.
    ///
    /// PEM, and not encrypted.
    #[arg(long, value_name = "FILE")]
    pub tls_key: Vec<PathBuf>,

    /// Ask clients for a certificate from an issuer in this file.
    ///
    /// PEM: the certificates of the issuers.
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Refuse clients without a certificate, or only wrong ones.
    #[arg(long, value_name = "MODE", value_parser = words::client_auth(), hide_possible_values = true)]
    #[arg(
        hide_short_help = true,
        long_help = "Say which clients --tls-client-ca refuses:\n\
        - require: those without a certificate, and those with a wrong one\n\
        - request: those with a wrong one"
    )]
    pub tls_client_auth: Option<ClientAuth>,

    /// Offer this application protocol (ALPN); repeatable.
    ///
    /// The first one that the client offers too is taken. A client that offers others only is
    /// refused.
    #[arg(long, value_name = "NAME", value_parser = tls::protocol, hide_short_help = true)]
    pub tls_alpn: Vec<String>,

    /// Refuse versions of TLS below this: 1.2 or 1.3.
    #[arg(long, value_name = "VERSION", value_parser = words::tls_version(), hide_possible_values = true)]
    #[arg(hide_short_help = true)]
    pub tls_min_version: Option<TlsVersion>,

    /// Refuse a client whose handshake is not done after this.
    #[arg(long, value_name = "DURATION", value_parser = units::duration, hide_short_help = true)]
    pub tls_handshake_timeout: Option<Duration>,
}

impl TlsOptions {
    /// Returns what the options mean, if the server speaks TLS.
    ///
    /// # Errors
    ///
    /// The options contradict each other.
    pub fn settings(self) -> Result<Option<TlsSettings>> {
        let (certificates, keys) = (self.tls_cert.len(), self.tls_key.len());
        ensure!(
            certificates == keys,
            "{certificates} --tls-cert and {keys} --tls-key: each certificate needs its key"
        );
        if certificates == 0 {
            let others = self.tls_client_ca.is_some()
                || self.tls_client_auth.is_some()
                || !self.tls_alpn.is_empty()
                || self.tls_min_version.is_some()
                || self.tls_handshake_timeout.is_some();
            if others {
                bail!("the options of TLS need a certificate: --tls-cert and --tls-key")
            }
            return Ok(None);
        }
        if self.tls_client_auth.is_some() && self.tls_client_ca.is_none() {
            bail!(
                "--tls-client-auth needs --tls-client-ca, which says whose certificates are right"
            )
        }
        Ok(Some(TlsSettings {
            certificates: self.tls_cert.into_iter().zip(self.tls_key).collect(),
            client_ca: self.tls_client_ca,
            client_auth: self.tls_client_auth.unwrap_or_default(),
            alpn: self.tls_alpn,
            min_version: self.tls_min_version.unwrap_or_default(),
            handshake_timeout: self.tls_handshake_timeout.unwrap_or(TlsSettings::HANDSHAKE_TIMEOUT),
        }))
    }
}
