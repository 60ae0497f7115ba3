//! The `MyTCPHandler` of Python's documentation as a native handler, with any
//! of Python's classes. The benches compare the sandbox with it.
//!
//! ```console
//! $ cargo run -p socketserver --example upper -- tcp://127.0.0.1:9999 ForkingTCPServer
//! ```

use std::time::Duration;

use socketserver::{BaseRequestHandler, Context, HandlerError, RequestHandlerClass, ServerClass};

#[derive(Default)]
struct MyTCPHandler;

impl BaseRequestHandler for MyTCPHandler {
    fn handle(&mut self, cx: &Context<'_>) -> Result<(), HandlerError> {
        // cx.request is the TCP socket connected to the client
        let data = cx.request.recv(1024)?;
        // just send back the same data, but upper-cased
        cx.request.sendall(&data.trim_ascii().to_ascii_uppercase())?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().unwrap_or_else(|| "tcp://127.0.0.1:9999".to_owned());
    let class = arguments.next().unwrap_or_else(|| "ThreadingTCPServer".to_owned());
    let class: ServerClass = class.parse()?;
    let server =
        class.builder(endpoint.parse()?, RequestHandlerClass::<MyTCPHandler>::new())?.build()?;
    println!("listening {}", server.endpoints()[0]);
    server.serve_forever(Duration::from_millis(500))?;
    Ok(())
}
