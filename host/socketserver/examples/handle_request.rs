//! A loop of one's own around `handle_request`, with a timeout: it ends when
//! nobody has come for a while.
//!
//! ```console
//! $ cargo run -p socketserver --example handle_request -- tcp://127.0.0.1:9999 5
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socketserver::{Address, Hooks, Request, Server};

/// Notes that a `handle_request` waited in vain.
struct UntilQuiet(Arc<AtomicBool>);

impl Hooks for UntilQuiet {
    fn handle_timeout(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().unwrap_or_else(|| "tcp://127.0.0.1:9999".to_owned());
    let seconds = arguments.next().unwrap_or_else(|| "5".to_owned());
    let quiet = Arc::new(AtomicBool::new(false));
    let server = Server::builder(|request: &Request, _: &Address, _: &_| {
        request.sendall(b"one at a time\n")
    })
    .bind(endpoint.parse()?)
    .hooks(UntilQuiet(Arc::clone(&quiet)))
    .timeout(Some(Duration::try_from_secs_f64(seconds.parse()?)?))
    .build()?;
    println!("listening {}", server.endpoints()[0]);
    while !quiet.load(Ordering::Relaxed) {
        server.handle_request()?;
    }
    println!("nobody came for {seconds} s");
    Ok(())
}
