//! Facts about a handshake, in the words of Python's `ssl`, which are those of OpenSSL.

use rustls::{CipherSuite, ProtocolVersion};

/// The cipher of a session: the tuple that Python's `cipher()` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsCipher {
    /// OpenSSL's name of the cipher suite.
    pub name: &'static str,
    /// The version of TLS that defines the suite, such as `TLSv1.3`.
    pub protocol: &'static str,
    /// The number of secret bits.
    pub secret_bits: u32,
}

const V1_2: &str = "TLSv1.2";
const V1_3: &str = "TLSv1.3";

const fn cipher(name: &'static str, protocol: &'static str, secret_bits: u32) -> TlsCipher {
    TlsCipher { name, protocol, secret_bits }
}

/// Returns Python's name of a version.
pub(crate) fn version_name(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some(V1_2),
        ProtocolVersion::TLSv1_3 => Some(V1_3),
        _ => None,
    }
}

/// Returns the cipher of a suite, if the server can have it.
pub(crate) fn cipher_of(suite: CipherSuite) -> Option<TlsCipher> {
    Some(match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => cipher("TLS_AES_128_GCM_SHA256", V1_3, 128),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => cipher("TLS_AES_256_GCM_SHA384", V1_3, 256),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => {
            cipher("TLS_CHACHA20_POLY1305_SHA256", V1_3, 256)
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            cipher("ECDHE-ECDSA-AES128-GCM-SHA256", V1_2, 128)
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
            cipher("ECDHE-ECDSA-AES256-GCM-SHA384", V1_2, 256)
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            cipher("ECDHE-ECDSA-CHACHA20-POLY1305", V1_2, 256)
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => {
            cipher("ECDHE-RSA-AES128-GCM-SHA256", V1_2, 128)
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => {
            cipher("ECDHE-RSA-AES256-GCM-SHA384", V1_2, 256)
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            cipher("ECDHE-RSA-CHACHA20-POLY1305", V1_2, 256)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;

    use super::*;

    #[test]
    fn every_cipher_suite_of_the_server_has_its_name() {
        for suite in ring::default_provider().cipher_suites {
            let cipher = cipher_of(suite.suite());
            let version = version_name(suite.version().version);
            assert_eq!(cipher.map(|cipher| cipher.protocol), version, "{suite:?}");
        }
    }
}
