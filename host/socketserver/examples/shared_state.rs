//! State that all handlers share, as on `self.server` in Python.
//!
//! The state is a field of the [`RequestHandler`]: the server has one value of it, and
//! every request borrows that value. Threads see the same state.
//!
//! **Under forking the parent's copy stays as it was**, as in Python. Each child changes
//! its own copy, which ends with the child; a worker has a copy too. Numbers in a
//! [`Shared`] mapping are the same in all processes: each sees what the others write.
//!
//! ```console
//! $ cargo run -p socketserver --example shared_state -- tcp://127.0.0.1:9999 ForkingTCPServer
//! $ nc 127.0.0.1 9999
//! request 1 of this process, 1 of all processes
//! $ nc 127.0.0.1 9999
//! request 1 of this process, 2 of all processes
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socketserver::{
    Address, HandlerError, Request, RequestHandler, ServerClass, ServerInfo, Shared,
};

/// The handler, with the attributes that a Python program sets on its server.
struct Counting {
    /// The number of requests, of which each forked process has a copy.
    requests: AtomicU64,
    /// The number of requests in memory that forked processes share.
    all_requests: Shared<AtomicU64>,
}

impl RequestHandler for Counting {
    fn finish_request(
        &self,
        request: &Request,
        _client_address: &Address,
        _server: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError> {
        let own = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let all = self.all_requests.fetch_add(1, Ordering::Relaxed) + 1;
        let text = format!("request {own} of this process, {all} of all processes\n");
        request.sendall(text.as_bytes())?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().unwrap_or_else(|| "tcp://127.0.0.1:9999".to_owned());
    let class = arguments.next().unwrap_or_else(|| "ThreadingTCPServer".to_owned());
    let class: ServerClass = class.parse()?;
    let handler = Counting { requests: AtomicU64::new(0), all_requests: Shared::zeroed()? };
    let server = class.builder(endpoint.parse()?, handler)?.build()?;
    println!("listening {}", server.endpoints()[0]);
    server.serve_forever(Duration::from_millis(500))?;
    Ok(())
}
