//! The native server: a thread for each connection, on rustls as it is. The bench starts itself
//! again with `--native FOLDER upper|source`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::Result;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socketserver_tests::bench::option;

pub fn serve(folder: &Path) -> Result<()> {
    let certificate = CertificateDer::from_pem_file(folder.join("cert.pem"))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem"))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate], key)?;
    let config = Arc::new(config);
    let handle = match option(&folder.display().to_string()).as_deref() {
        Some("source") => source,
        _ => upper,
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening tcp://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let (stream, config) = (stream?, config.clone());
        thread::spawn(move || -> Result<()> {
            let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
            handle(&mut stream)?;
            stream.conn.send_close_notify();
            Ok(stream.flush()?)
        });
    }
    Ok(())
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

fn upper(stream: &mut Stream) -> Result<()> {
    let mut data = [0; 1024];
    let count = stream.read(&mut data)?;
    data.make_ascii_uppercase();
    Ok(stream.write_all(&data[..count])?)
}

fn source(stream: &mut Stream) -> Result<()> {
    let mut line = String::new();
    BufReader::new(&mut *stream).read_line(&mut line)?;
    let (data, mut left) = (vec![b'x'; 1 << 20], line.trim().parse::<usize>()?);
    while left > 0 {
        let count = left.min(data.len());
        stream.write_all(&data[..count])?;
        left -= count;
    }
    Ok(())
}
