//! A server that ends at SIGINT or SIGTERM, and finishes its requests first.
//!
//! The signal handler writes to a pipe, and the loop ends when the other end of the pipe
//! becomes readable. A thread that waits for signals would make forking impossible.
//!
//! ```console
//! $ cargo run -p socketserver --example shutdown_by_signal -- tcp://127.0.0.1:9999
//! ```

use std::error::Error;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use socketserver::{Address, Concurrency, Request, Server, Threading};

/// The time that requests in flight have to finish.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:9999".to_owned());
    let (stop, signalled) = UnixStream::pair()?;
    pipe::register(SIGINT, signalled.try_clone()?)?;
    pipe::register(SIGTERM, signalled)?;
    let echo = |mut request: &Request, _: &Address, _: &_| {
        io::copy(&mut request.clone(), &mut request).map(drop)
    };
    let server = Server::builder(echo)
        .bind(endpoint.parse()?)
        .concurrency(Concurrency::Threading(Threading::new()))
        .shutdown_when_readable(stop.into())
        .graceful_shutdown(true)
        .build()?;
    println!("listening {}", server.endpoints()[0]);
    server.serve_forever(Duration::from_millis(500))?;
    let left = server.server_close_within(GRACE);
    println!("stopped with {left} requests in flight");
    Ok(())
}
