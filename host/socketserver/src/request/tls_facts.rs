//! Facts about the TLS of a connection. The session has them from the handshake, and a call
//! copies one of them: a request that does not ask pays nothing.

use rustls::ServerConnection;

use super::Request;
use super::transport::Transport;
use crate::tls::{TlsCipher, cipher_of, version_name};

/// The names are those of Python's `ssl.SSLSocket`. All return `None` for a connection without
/// TLS, for a datagram, for a socket that a handler opened, and after [`close`](Self::close).
impl Request {
    /// Returns the version of TLS, `TLSv1.2` or `TLSv1.3`. Python's `version`.
    pub fn version(&self) -> Option<&'static str> {
        self.tls_fact(|session| session.protocol_version().and_then(version_name))
    }

    /// Returns the cipher. Python's `cipher`.
    pub fn cipher(&self) -> Option<TlsCipher> {
        self.tls_fact(|session| cipher_of(session.negotiated_cipher_suite()?.suite()))
    }

    /// Returns the application protocol (ALPN) that the client and the server agreed upon, if
    /// there is one. Python's `selected_alpn_protocol`.
    pub fn selected_alpn_protocol(&self) -> Option<String> {
        // It is one of those in the settings of the server, which are text.
        self.tls_fact(|session| String::from_utf8(session.alpn_protocol()?.to_vec()).ok())
    }

    /// Returns the client's certificate in DER, if the client showed one, which the server has
    /// verified then. A message of the handshake, which has it, has less than 64 KiB. Python's
    /// `getpeercert(binary_form=True)`.
    pub fn getpeercert(&self) -> Option<Vec<u8>> {
        self.tls_fact(|session| Some(session.peer_certificates()?.first()?.to_vec()))
    }

    /// Returns the name of the server that the client asked for (SNI), in lower case, if it
    /// asked for one. Any client can ask for any name. Python tells it to `sni_callback` only.
    pub fn server_hostname(&self) -> Option<String> {
        self.tls_fact(|session| session.server_name().map(str::to_owned))
    }

    fn tls_fact<T>(&self, read: impl FnOnce(&ServerConnection) -> Option<T>) -> Option<T> {
        self.check_open().ok()?;
        match &self.0.transport {
            Transport::Connection(connection) => connection.tls()?.fact(read),
            _ => None,
        }
    }
}
