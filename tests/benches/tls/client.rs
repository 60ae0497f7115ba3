//! The client, on rustls.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socketserver_tests::process::TIMEOUT;

/// The most bytes that are read at a time.
const PIECE: usize = 64 << 10;

/// A client that trusts the certificate of the servers.
pub struct Client(Arc<ClientConfig>);

type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Client {
    pub fn new(folder: &Path) -> Result<Client> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("cert.pem"))?)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Client(Arc::new(config)))
    }

    fn connect(&self, address: SocketAddr) -> Result<Stream> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let name = ServerName::try_from("localhost")?;
        Ok(StreamOwned::new(ClientConnection::new(self.0.clone(), name)?, stream))
    }

    /// Sends one request on a connection of its own, and reads the answer to `close_notify`.
    pub fn ask(&self, address: SocketAddr) -> Result<()> {
        let mut stream = self.connect(address)?;
        stream.write_all(&[b'q'; 64])?;
        let mut answer = Vec::with_capacity(64);
        stream.read_to_end(&mut answer)?;
        ensure!(answer == [b'Q'; 64], "a wrong answer: {answer:?}");
        end(&mut stream)
    }

    /// Receives `mib` MiB on one connection, to `close_notify`.
    pub fn receive(&self, address: SocketAddr, mib: u32) -> Result<()> {
        let mut stream = self.connect(address)?;
        let bytes = u64::from(mib) << 20;
        stream.write_all(format!("{bytes}\n").as_bytes())?;
        let (mut data, mut received) = (vec![0; PIECE], 0);
        loop {
            match stream.read(&mut data)? {
                0 => break,
                count => received += count as u64,
            }
        }
        ensure!(received == bytes, "{received} bytes of {bytes} came");
        end(&mut stream)
    }
}

fn end(stream: &mut Stream) -> Result<()> {
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}
