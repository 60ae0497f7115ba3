//! `select` in a handler whose connection has TLS.

use std::io::{Read, Write};

use super::{TCP, here};
use crate::tls::{Certificates, secure};

/// Plain bytes that the host has already make the connection ready, and so do records that come
/// in parts.
#[test]
fn select_knows_the_plain_bytes_of_a_connection_with_tls() {
    let certificates = Certificates::new();
    let tls = certificates.options("server");
    let options: Vec<_> = TCP.into_iter().chain(tls.iter().map(String::as_str)).collect();
    let server = here("waits.py", &options);
    let stream = server.connect().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut client = secure(stream, "localhost", certificates.client_config(None));
    client.write_all(b"abc").unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"11a 11b 11c ");
    let mut record = Vec::new();
    client.conn.writer().write_all(b"d").unwrap();
    client.conn.write_tls(&mut record).unwrap();
    for byte in record {
        client.sock.write_all(&[byte]).unwrap();
    }
    client.conn.send_close_notify();
    client.flush().unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "11d ");
}
