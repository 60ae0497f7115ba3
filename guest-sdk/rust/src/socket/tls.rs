//! Facts about the TLS of a connection.

use super::handle::Socket;
use crate::bindings::secured::socketserver::handler::tls;

/// The cipher of a connection: the tuple that Python's `cipher()` returns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cipher {
    /// OpenSSL's name of the cipher suite, such as `TLS_AES_256_GCM_SHA384`.
    pub name: String,
    /// The version of TLS that defines the suite, such as `TLSv1.3`.
    pub protocol: String,
    /// The number of secret bits.
    pub secret_bits: u32,
}

/// The TLS of a connection, with the names of Python's `ssl.SSLSocket`. All return `None` for a
/// connection without TLS, for the socket of a datagram, for a socket that the handler opened,
/// and after [`close`](Self::close). A component that calls none of them does not import the
/// interface `tls`.
impl Socket {
    /// Returns the version of TLS, `TLSv1.2` or `TLSv1.3`. Python's `version()`.
    pub fn version(&self) -> Option<String> {
        tls::version(&self.0)
    }

    /// Returns the cipher. Python's `cipher()`.
    pub fn cipher(&self) -> Option<Cipher> {
        let (name, protocol, secret_bits) = tls::cipher(&self.0)?;
        Some(Cipher { name, protocol, secret_bits })
    }

    /// Returns the application protocol (ALPN) that the client and the server agreed upon, if
    /// there is one. Python's `selected_alpn_protocol()`.
    pub fn selected_alpn_protocol(&self) -> Option<String> {
        tls::selected_alpn_protocol(&self.0)
    }

    /// Returns the client's certificate in DER, if the client showed one. The server has
    /// verified it. Python's `getpeercert(binary_form=True)`.
    pub fn getpeercert(&self) -> Option<Vec<u8>> {
        tls::getpeercert(&self.0)
    }

    /// Returns the name of the server that the client asked for (SNI), in lower case, if it
    /// asked for one. Any client can ask for any name. Python tells it to `sni_callback` only.
    pub fn server_hostname(&self) -> Option<String> {
        tls::server_hostname(&self.0)
    }
}
