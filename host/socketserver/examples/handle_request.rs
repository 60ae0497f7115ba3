//! A loop of the program's own around `handle_request`. It ends when no client has come
//! for the server's timeout.
//!
//! ```console
//! $ cargo run -p socketserver --example handle_request -- tcp://127.0.0.1:9999 5
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socketserver::{Address, Hooks, Request, Server};

/// Hooks that record the timeout of `handle_request`.
struct RecordTimeout(Arc<AtomicBool>);

impl Hooks for RecordTimeout {
    fn handle_timeout(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().unwrap_or_else(|| "tcp://127.0.0.1:9999".to_owned());
    let seconds = arguments.next().unwrap_or_else(|| "5".to_owned());
    let timed_out = Arc::new(AtomicBool::new(false));
    let server = Server::builder(|request: &Request, _: &Address, _: &_| {
        request.sendall(b"one at a time\n")
    })
    .bind(endpoint.parse()?)
    .hooks(RecordTimeout(Arc::clone(&timed_out)))
    .timeout(Some(Duration::try_from_secs_f64(seconds.parse()?)?))
    .build()?;
    println!("listening {}", server.endpoints()[0]);
    while !timed_out.load(Ordering::Relaxed) {
        server.handle_request()?;
    }
    println!("no client came for {seconds} s");
    Ok(())
}
