//! Unit tests of a handler, without a server.
//!
//! A test makes the request with [`Request::new`] from one end of a pair of sockets, and
//! the facts about the server with [`ServerInfo::new`]. It is the client at the other end.
//! [`Request::from_datagram`] makes a request with a datagram.
//!
//! ```console
//! $ cargo test -p socketserver --example test_a_handler
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use socketserver::{Address, HandlerError, Request, RequestHandler, Server, ServerInfo};

/// The handler to test: answers a line in upper case.
struct Upper;

impl RequestHandler for Upper {
    fn finish_request(
        &self,
        request: &Request,
        _client_address: &Address,
        _server: &Arc<ServerInfo>,
    ) -> Result<(), HandlerError> {
        let data = request.recv(1024)?;
        if data.is_empty() {
            return Err("the client sent nothing".into());
        }
        request.sendall(&data.to_ascii_uppercase())?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:9999".to_owned());
    let server = Server::builder(Upper).bind(endpoint.parse()?).build()?;
    println!("listening {}", server.endpoints()[0]);
    server.serve_forever(Duration::from_millis(500))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use socketserver::Endpoint;

    use super::*;

    /// Calls the handler for a client that sends `data`. Returns its result, and the
    /// answer.
    fn answer(data: &[u8]) -> (Result<(), HandlerError>, Vec<u8>) {
        let endpoint: Endpoint = "tcp://127.0.0.1:9999".parse().unwrap();
        let server = Arc::new(ServerInfo::new(&endpoint));
        let (mut client, socket) = UnixStream::pair().unwrap();
        client.write_all(data).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let result = Upper.finish_request(&Request::new(socket), &server.server_address, &server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        (result, answer)
    }

    #[test]
    fn a_line_is_answered_in_upper_case() {
        let (result, answer) = answer(b"hello\n");
        assert!(result.is_ok());
        assert_eq!(answer, b"HELLO\n");
    }

    #[test]
    fn an_empty_request_is_an_error() {
        let (result, answer) = answer(b"");
        assert_eq!(result.unwrap_err().to_string(), "the client sent nothing");
        assert_eq!(answer, b"");
    }
}
