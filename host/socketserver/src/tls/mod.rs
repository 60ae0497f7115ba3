//! TLS: what a server needs for the handshakes with its clients.
//!
//! | file | contents |
//! |---|---|
//! | this one | [`TlsServer`] and its settings |
//! | `facts` | facts about a handshake, in the words of Python |
//! | `files` | certificates and keys in files |
//! | `validity` | when a certificate expires |
//! | `session` | one session: records on one side, plain bytes on the other |
//!
//! `request/secured.rs` has the calls of a request on a session.

mod facts;
mod files;
mod session;
mod validity;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

pub use facts::TlsCipher;
pub(crate) use facts::{cipher_of, version_name};
pub use files::TlsError;
pub(crate) use session::{Awaited, End, Session, Stopped};

use crate::address::SocketType;
use crate::listen::endpoint::Endpoint;

/// The certificates and the rules of a server that speaks TLS on its sockets. The server
/// reads the files once, in [`TlsServer::load`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The files of certificates, each with the file of its key: PEM, the server's own
    /// certificate first and then those of its issuers. A client gets the first that is for
    /// the name that it asks for, or the first of all.
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// The file of the certificates that issue those of clients, if clients have some.
    pub client_ca: Option<PathBuf>,
    /// The clients that may have no certificate, if there is a `client_ca`.
    pub client_auth: ClientAuth,
    /// The application protocols (ALPN), the preferred first. With some, a client that offers
    /// others only is refused.
    pub alpn: Vec<String>,
    /// The lowest version of TLS.
    pub min_version: TlsVersion,
    /// The time in which a handshake must be done.
    pub handshake_timeout: Duration,
}

impl TlsSettings {
    /// The default of `handshake_timeout`.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
}

/// The clients that may have no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// None.
    #[default]
    Require,
    /// All: a certificate that is sent must be right.
    Request,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// The certificates and keys of a server that speaks TLS, and its rules.
#[derive(Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
    handshake_timeout: Duration,
    expiries: Arc<[(PathBuf, u64)]>,
}

impl TlsServer {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// A file cannot be read, has no certificate or key, or a key is not that of its
    /// certificate.
    pub fn load(settings: &TlsSettings) -> Result<TlsServer, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let versions: &[&SupportedProtocolVersion] = match settings.min_version {
            TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(Clock))
            .with_protocol_versions(versions)
            .map_err(TlsError::Settings)?;
        let builder = match &settings.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in files::certificates(path)? {
                    let added = roots.add(certificate);
                    added.map_err(|error| TlsError::Certificate { path: path.clone(), error })?;
                }
                let roots = Arc::new(roots);
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
                let verifier = match settings.client_auth {
                    ClientAuth::Require => verifier,
                    ClientAuth::Request => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| TlsError::ClientCa {
                    path: path.clone(),
                    error: error.to_string(),
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let pairs = settings.certificates.iter();
        let keys =
            pairs.map(|(certificate, key)| files::certified_key(certificate, key, &provider));
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let paths = settings.certificates.iter().map(|(path, _)| path.clone());
        let expiries = paths.zip(&keys).filter_map(|(path, key)| {
            Some((path, validity::not_after(key.end_entity_cert().ok()?)?))
        });
        let expiries = expiries.collect();
        let mut config = builder.with_cert_resolver(Arc::new(Certificates(keys)));
        config.alpn_protocols = settings.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        // A session that can be resumed would be known to one process or child only.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let handshake_timeout = settings.handshake_timeout;
        Ok(TlsServer { config: Arc::new(config), handshake_timeout, expiries })
    }

    /// Checks that connections to `endpoint` can have TLS.
    ///
    /// # Errors
    ///
    /// The endpoint is for datagrams. The error is a sentence that says what to do.
    pub fn check_endpoint(&self, endpoint: &Endpoint) -> Result<(), String> {
        match endpoint.socket_type() {
            SocketType::Stream => Ok(()),
            SocketType::Dgram => Err(format!(
                "TLS is for connections, and {} is for datagrams: name the addresses that \
                 have TLS, such as tls://0.0.0.0:443",
                endpoint.clone().with_tls(false)
            )),
        }
    }

    /// Returns the file of each certificate, with the last second in which the certificate is
    /// valid, in seconds since 1970. The certificates of its issuers are in the same file, and do
    /// not count.
    pub fn expiries(&self) -> &[(PathBuf, u64)] {
        &self.expiries
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").finish_non_exhaustive()
    }
}

/// The time for the certificates of clients. That of the library panics before 1970.
#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// The certificates of a server. There is one at least.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let is_for_name = |key: &&Arc<CertifiedKey>| {
            let parsed = key.end_entity_cert().ok().map(ParsedCertificate::try_from);
            let (Some(Ok(parsed)), Some(name)) = (parsed, &name) else { return false };
            rustls::client::verify_server_name(&parsed, name).is_ok()
        };
        self.0.iter().find(is_for_name).or(self.0.first()).cloned()
    }
}
