//! The time at which a certificate expires.

use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

/// The second after the last one that a certificate can name, that of the year 9999.
const END: Duration = Duration::from_hours(70_389_528);

/// Returns the last second in which a certificate is valid, since 1970, if it can be read.
///
/// The library has no function for that, but verifies certificates: the error for one that has
/// expired says when. It looks at the validity first, so no issuer is needed.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<u64> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let (roots, later) = (RootCertStore::empty(), UnixTime::since_unix_epoch(END));
    let verified = verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], later, &[]);
    match verified {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(not_after.as_secs())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// A certificate, made by OpenSSL.
    const PEM: &[u8] = b"\
-----BEGIN CERTIFICATE-----\n\
MIIBaTCCARCgAwIBAgIUHuK+NHl2nIdz6Vx/jeQQv7pLQ5gwCgYIKoZIzj0EAwIw\n\
DDEKMAgGA1UEAwwBYTAeFw0yNjExMjgxODQxMDNaFw0yNjEyMDgxODQxMDNaMAwx\n\
CjAIBgNVBAMMAWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ8sTUHa+80bNpp\n\
QsupKIX46Pwwqpxv8aeN6lLzZLC38+pgyUDkvXEnuDcvB10Gn+p1byKnbRy7F2p/\n\
RYApZhMio1AwTjAdBgNVHQ4EFgQUruoBi4wvsx0QYLjfc+eY5yqFNMgwHwYDVR0j\n\
BBgwFoAUruoBi4wvsx0QYLjfc+eY5yqFNMgwDAYDVR0TAQH/BAIwADAKBggqhkjO\n\
PQQDAgNHADBEAiAza0/fxtuOWhKcZIyOBPUumrPRKbu/wf6qjJK/9jWO6QIgfN7v\n\
rwrh99iVrX+LbtaVwE4dsr0axanOtRwDKEgSuyk=\n\
-----END CERTIFICATE-----";

    #[test]
    fn the_end_is_that_of_openssl_and_a_part_has_none() {
        let whole = CertificateDer::from_pem_slice(PEM).unwrap();
        assert_eq!(not_after(&whole), Some(1_796_755_263));
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length].into()), None, "{length}");
        }
        for at in 0..whole.len() {
            let mut other = whole.to_vec();
            other[at] ^= 0x55;
            // It ends in the year 9999 at the latest.
            assert!(not_after(&other.into()).is_none_or(|end| end < END.as_secs()), "{at}");
        }
    }
}
