//! The UDP server of Python's documentation: answers each datagram in upper case, with
//! any of Python's classes for datagrams.
//!
//! ```console
//! $ cargo run -p socketserver --example udp
//! $ echo hello | nc -u -w1 127.0.0.1 9999
//! ```

use std::error::Error;
use std::time::Duration;

use socketserver::{Address, Request, ServerClass};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().unwrap_or_else(|| "udp://127.0.0.1:9999".to_owned());
    let class = arguments.next().unwrap_or_else(|| "UDPServer".to_owned());
    let handler = |request: &Request, client: &Address, _: &_| {
        let upper = request.data().trim_ascii().to_ascii_uppercase();
        request.sendto(&upper, client).map(drop)
    };
    let class: ServerClass = class.parse()?;
    let server = class.builder(endpoint.parse()?, handler)?.build()?;
    println!("listening {}", server.endpoints()[0]);
    server.serve_forever(Duration::from_millis(500))?;
    Ok(())
}
