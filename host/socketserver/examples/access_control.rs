//! A server that refuses some clients: an override of `verify_request`.
//!
//! ```console
//! $ cargo run -p socketserver --example access_control -- tcp://127.0.0.1:9999 127.0.0.2
//! ```

use std::error::Error;
use std::time::Duration;

use socketserver::access::{Access, ClientSet, network};
use socketserver::{Address, Hooks, Request, Server};

/// Hooks that refuse clients by rules. A refused client sees the end of its connection,
/// and no handler runs.
struct AccessControl(Access);

impl Hooks for AccessControl {
    fn verify_request(&self, request: &Request, client_address: &Address) -> bool {
        self.0.verify_request(request, client_address).is_ok()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().unwrap_or_else(|| "tcp://127.0.0.1:9999".to_owned());
    let denied = arguments.next().unwrap_or_else(|| "127.0.0.2".to_owned());
    let access = Access::new().deny(ClientSet::Network(network(&denied)?));
    let server =
        Server::builder(|request: &Request, _: &Address, _: &_| request.sendall(b"welcome\n"))
            .bind(endpoint.parse()?)
            .hooks(AccessControl(access))
            .build()?;
    println!("listening {}", server.endpoints()[0]);
    server.serve_forever(Duration::from_millis(500))?;
    Ok(())
}
