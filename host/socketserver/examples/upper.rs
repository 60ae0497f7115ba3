//! The `MyTCPHandler` of Python's documentation as a native handler, in
//! threads. The benches measure the sandbox against it.

use std::time::Duration;

use socketserver::{
    BaseRequestHandler, Concurrency, Context, HandlerError, RequestHandlerClass, Server, Threading,
};

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
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:9999".to_owned());
    let server = Server::builder(RequestHandlerClass::<MyTCPHandler>::new())
        .bind(endpoint.parse()?)
        .concurrency(Concurrency::Threading(Threading::new()))
        .build()?;
    println!("listening {}", server.endpoints()[0]);
    server.serve_forever(Duration::from_millis(500))?;
    Ok(())
}
