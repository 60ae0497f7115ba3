//! An echo server, with a thread for each client.
//!
//! ```console
//! $ cargo run -p socketserver --example echo -- tcp://127.0.0.1:9999
//! $ nc 127.0.0.1 9999
//! ```

use std::error::Error;
use std::io;
use std::time::Duration;

use socketserver::{Address, Concurrency, Request, Server, Threading};

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:9999".to_owned());
    let echo = |mut request: &Request, _: &Address, _: &_| {
        // Until the client ends its sending side.
        io::copy(&mut request.clone(), &mut request).map(drop)
    };
    let server = Server::builder(echo)
        .bind(endpoint.parse()?)
        .concurrency(Concurrency::Threading(Threading::new()))
        .allow_reuse_address(true)
        .build()?;
    println!("listening {}", server.endpoints()[0]);
    server.serve_forever(Duration::from_millis(500))?;
    Ok(())
}
