//! Serves a component on a Unix socket.
//!
//! ```console
//! $ cargo run -p socketserver-sandbox --example unix_socket -- guests/upper/upper.wat /tmp/upper
//! $ echo hello | nc -UN /tmp/upper
//! ```

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use socketserver::{Endpoint, ServerClass, UnixAddress};
use socketserver_sandbox::{
    Cache, Component, ComponentHandler, Engine, EngineSettings, Loader, Policy,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(handler), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: unix_socket HANDLER PATH".into());
    };
    let engine = Engine::new(100, &EngineSettings::default())?;
    let component =
        Component::load(&engine, Path::new(&handler), &Loader::in_process(Cache::disabled()))?;
    let handler = ComponentHandler::new(&engine, &component, Policy::default())?;
    let endpoint = Endpoint::unix(UnixAddress::Pathname(path.into()));
    let server = ServerClass::UnixStreamServer
        .builder(endpoint, handler)?
        .remove_stale_socket(true)
        .socket_mode(0o600)
        .build()?;
    println!("listening {}", server.endpoints()[0]);
    server.serve_forever(Duration::from_millis(500))?;
    Ok(())
}
