//! `--tls-cert`: connections with TLS.

mod certificates;
mod facts;
mod handshakes;
mod hostile;
mod listeners;
mod peers;
mod streams;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, DEFAULT_VERSIONS, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use socketserver_tests::build;
use socketserver_tests::process::Server;
use tempfile::TempDir;

use crate::fixture::serve;

/// The ways of running requests, with the jail where there can be one.
const JAILED: [&[&str]; 4] = [
    &["--concurrency", "sync"],
    &["--concurrency", "threading"],
    &["--concurrency", "forking", "--jail", "require"],
    &["--workers", "2", "--jail", "require"],
];

/// A folder of certificates and keys. All certificates are issued by `ca.pem`.
pub struct Certificates {
    folder: TempDir,
}

/// A client of a server with TLS.
pub type Client = StreamOwned<ClientConnection, TcpStream>;

impl Certificates {
    /// Makes `ca`, and `server` for the names `localhost` and 127.0.0.1.
    pub fn new() -> Certificates {
        let certificates = Certificates { folder: tempfile::tempdir().unwrap() };
        std::fs::write(certificates.path("cnf"), "[req]\ndistinguished_name=dn\n[dn]\n").unwrap();
        certificates.request(
            "ca",
            &["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"],
            &["-x509"],
        );
        certificates.issue("server", "DNS:localhost,IP:127.0.0.1");
        certificates
    }

    /// Returns the path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the path of a file as an argument.
    pub fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Makes the certificate `NAME.pem` for these names, and its key `NAME.key`.
    pub fn issue(&self, name: &str, names: &str) {
        let names = format!("subjectAltName={names}");
        let [ca, key] = ["ca.pem", "ca.key"].map(|name| self.file(name));
        let issuer = ["-x509", "-CA", &ca, "-CAkey", &key];
        self.request(name, &[&names, "basicConstraints=critical,CA:FALSE"], &issuer);
    }

    /// Makes the certificate `NAME.pem` for `localhost`, which ended in 2020, and its key.
    pub fn issue_expired(&self, name: &str) {
        self.request(name, &["subjectAltName=DNS:localhost"], &[]);
        let folder = self.folder.path().display();
        let settings = format!(
            "[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/index\nnew_certs_dir={folder}\n\
             serial={folder}/serial\n\
             default_md=sha256\npolicy=any\ncopy_extensions=copy\n[any]\ncommonName=supplied\n"
        );
        std::fs::write(self.path("ca.cnf"), settings).unwrap();
        std::fs::write(self.path("index"), "").unwrap();
        let [config, ca, key] = ["ca.cnf", "ca.pem", "ca.key"].map(|name| self.file(name));
        let (request, out) = (self.file(&format!("{name}.pem")), self.file("issued"));
        let authority = ["ca", "-batch", "-notext", "-config", &config, "-cert", &ca];
        let files = ["-keyfile", &key, "-in", &request, "-out", &out, "-rand_serial"];
        let times = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"];
        self.openssl(&[&authority[..], &files, &times].concat());
        std::fs::rename(out, request).unwrap();
    }

    /// Makes the certificate `NAME.pem` for `localhost`, which ends in so many days, and its key.
    pub fn issue_for_days(&self, name: &str, days: i32) {
        self.request(name, &["subjectAltName=DNS:localhost"], &[]);
        let request = self.file(&format!("{name}.pem"));
        let [ca, key] = ["ca.pem", "ca.key"].map(|name| self.file(name));
        let (out, from) = (self.file("issued"), ["x509", "-req", "-in", &request]);
        let days = days.to_string();
        let more = ["-copy_extensions", "copy", "-days", &days];
        self.openssl(&[&from[..], &["-CA", &ca, "-CAkey", &key, "-out", &out], &more].concat());
        std::fs::rename(out, request).unwrap();
    }

    /// Makes the certificate `NAME.pem` with a key of RSA, which issues itself.
    fn self_signed_rsa(&self, name: &str) {
        let [key, out] = ["key", "pem"].map(|end| self.file(&format!("{name}.{end}")));
        let kind = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rsa"];
        let files = ["-keyout", &key, "-out", &out, "-config", &self.file("cnf")];
        let more = ["-addext", "basicConstraints=critical,CA:FALSE"];
        self.openssl(&[&kind[..], &files, &more].concat());
    }

    fn request(&self, name: &str, extensions: &[&str], more: &[&str]) {
        let [key, out] = ["key", "pem"].map(|end| self.file(&format!("{name}.{end}")));
        let (subject, config) = (format!("/CN={name}"), self.file("cnf"));
        let kind = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let files = ["-keyout", &key, "-out", &out, "-subj", &subject, "-config", &config];
        let extensions: Vec<_> =
            extensions.iter().flat_map(|extension| ["-addext", extension]).collect();
        self.openssl(&[&kind[..], &files, &extensions, more].concat());
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments:?}: {errors}");
        assert!(self.folder.path().is_dir());
    }

    /// Returns the options for the certificate `name`.
    pub fn options(&self, name: &str) -> Vec<String> {
        let [certificate, key] = ["pem", "key"].map(|end| self.file(&format!("{name}.{end}")));
        ["--tls-cert".to_owned(), certificate, "--tls-key".to_owned(), key].into()
    }

    /// Serves a sample with the certificate `server`.
    fn serve(&self, sample: &str, options: &[&str]) -> Server {
        let mut command = serve();
        command.arg(build::guest("rust", sample).unwrap());
        Server::start(command.args(self.options("server")).args(options), 1).unwrap()
    }

    fn read(&self, name: &str) -> Vec<CertificateDer<'static>> {
        let found = CertificateDer::pem_file_iter(self.path(name)).unwrap();
        found.map(|certificate| certificate.unwrap()).collect()
    }

    /// Returns the settings of a client that trusts `ca`, with the certificate of this name.
    pub fn client_config(&self, own: Option<&str>) -> ClientConfig {
        self.client_config_of(DEFAULT_VERSIONS, own)
    }

    /// Returns the settings of a client that has these versions of TLS only.
    pub fn client_config_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&str>,
    ) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.read("ca.pem"));
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let Some(own) = own else { return builder.with_no_client_auth() };
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{own}.key"))).unwrap();
        builder.with_client_auth_cert(self.read(&format!("{own}.pem")), key).unwrap()
    }

    /// Connects to a server, as the client of `localhost`.
    fn connect(&self, server: &Server) -> Client {
        secure(server.connect().unwrap(), "localhost", self.client_config(None))
    }
}

/// Begins TLS on a connection with a server of this name. The handshake is done when the client
/// reads or writes.
pub fn secure(stream: TcpStream, name: &str, config: ClientConfig) -> Client {
    let name = name.to_owned().try_into().unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

/// Sends `data` and the end of the client's side, and reads to the end of the server's. A
/// connection that ends without `close_notify` is an error.
pub fn ask(client: &mut Client, data: &[u8]) -> std::io::Result<Vec<u8>> {
    while client.conn.is_handshaking() {
        client.conn.complete_io(&mut client.sock)?;
    }
    client.write_all(data)?;
    end(client);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Ends the client's side.
fn end(client: &mut Client) {
    client.conn.send_close_notify();
    // The server may have gone.
    let _ = client.flush();
}
