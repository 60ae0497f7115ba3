//! Certificates and keys in files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;

/// The largest file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The reason for which a server cannot speak TLS.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the kernel.
        #[source]
        error: io::Error,
    },
    /// A file is larger than any file of certificates.
    #[error("`{}` has more than {MAX_FILE} bytes", .0.display())]
    TooLarge(PathBuf),
    /// A file has no certificate.
    #[error("`{}` has no certificate: it must have some in PEM, which begin with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificates(PathBuf),
    /// A file has no key.
    #[error("`{}` has no private key: it must have one in PEM, which begins with -----BEGIN PRIVATE KEY----- or with the kind of the key, and is not encrypted", .0.display())]
    NoKey(PathBuf),
    /// A certificate is not usable.
    #[error("the certificates in `{}` are wrong", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: rustls::Error,
    },
    /// The certificates that issue those of clients are not usable.
    #[error("the certificates in `{}` cannot issue those of clients: {error}", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: String,
    },
    /// The key is not that of the certificate.
    #[error("the key in `{}` is not that of the certificate in `{}`", key.display(), certificate.display())]
    OtherKey {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// There is no certificate.
    #[error("a server that speaks TLS needs a certificate and its key")]
    NoCertificate,
    /// The settings do not fit each other.
    #[error("TLS cannot be set up")]
    Settings(#[source] rustls::Error),
}

/// Reads the certificates in a file, of which there is one at least.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || TlsError::NoCertificates(path.to_owned());
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(none)
}

/// Reads a certificate and its key.
pub(super) fn certified_key(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(certificate)?;
    let parsed = PrivateKeyDer::from_pem_slice(&read(key)?);
    let parsed = parsed.map_err(|_| TlsError::NoKey(key.to_owned()))?;
    let certified = CertifiedKey::from_der(chain, parsed, provider);
    certified.map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::OtherKey { certificate: certificate.to_owned(), key: key.to_owned() }
        }
        error => TlsError::Certificate { path: certificate.to_owned(), error },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::Read { path: path.to_owned(), error };
    let file = File::open(path).map_err(failed)?;
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(TlsError::TooLarge(path.to_owned()));
    }
    Ok(text)
}
