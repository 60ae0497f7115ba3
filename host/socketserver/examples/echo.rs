//! An echo server, with a thread for each client.
//!
//! ```console
//! $ cargo run -p socketserver --example echo -- tcp://127.0.0.1:9999
//! $ nc 127.0.0.1 9999
//! ```

use std::error::Error;
use std::time::Duration;

use socketserver::{Address, Concurrency, HandlerError, Request, Server, Threading};

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:9999".to_owned());
    let echo = |request: &Request, _: &Address, _: &_| {
        loop {
            let data = request.recv(65536)?;
            if data.is_empty() {
                // The client has ended its sending side.
                return Ok::<(), HandlerError>(());
            }
            request.sendall(&data)?;
        }
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
