//! The sockets that a service manager passes, and the `--bind` that takes each of them.

use anyhow::{Context, Result, bail, ensure};
use socketserver::service::PassedSocket;
use socketserver::{BoundSocket, Endpoint, ServerBuilder, printable};

use crate::values::endpoint::Bind;

/// The longest name in an error, in bytes.
const MAX_NAME: usize = 255;

/// A place where the server listens.
pub enum Place {
    /// An address that the server binds.
    Address(Endpoint),
    /// A socket that the server is passed.
    Socket(BoundSocket),
}

impl Place {
    /// Returns the address and the type of the socket.
    pub fn endpoint(&self) -> &Endpoint {
        match self {
            Place::Address(endpoint) => endpoint,
            Place::Socket(socket) => socket.endpoint(),
        }
    }

    /// Adds the place to a server.
    pub fn add_to(self, builder: ServerBuilder) -> ServerBuilder {
        match self {
            Place::Address(endpoint) => builder.bind(endpoint),
            Place::Socket(socket) => builder.listen_on(socket),
        }
    }
}

/// Returns the places that `--bind` names, with the sockets that were passed.
///
/// # Errors
///
/// A `--bind` names no socket, no `--bind` names a socket, or a socket cannot be served.
pub fn places(bind: &[Bind], passed: Vec<PassedSocket>) -> Result<Vec<Place>> {
    let names: Vec<_> = passed.iter().map(|socket| socket.name.clone()).collect();
    let is_named = |wanted: &str| {
        bind.iter()
            .any(|bind| matches!(bind, Bind::Passed { name: Some(name), .. } if name == wanted))
    };
    let mut left: Vec<_> = passed.into_iter().map(Some).collect();
    let mut places = Vec::new();
    for each in bind {
        let (wanted, has_tls) = match each {
            Bind::Address(endpoint) => {
                places.push(Place::Address(endpoint.clone()));
                continue;
            }
            Bind::Passed { name, has_tls } => (name, *has_tls),
        };
        let takes = |name: &str| match wanted {
            Some(wanted) => name == wanted,
            None => !is_named(name),
        };
        let before = places.len();
        for socket in &mut left {
            let Some(PassedSocket { name, fd }) = socket.take_if(|socket| takes(&socket.name))
            else {
                continue;
            };
            let socket = BoundSocket::try_from(fd);
            let shown = printable(&name, MAX_NAME);
            let socket = socket.with_context(|| format!("cannot serve the socket `{shown}`"))?;
            places.push(Place::Socket(socket.with_tls(has_tls)));
        }
        ensure!(
            places.len() > before,
            "--bind {each} names no socket that is left: {}",
            said(&names)
        );
    }
    if let Some(socket) = left.into_iter().flatten().next() {
        let name = printable(&socket.name, MAX_NAME);
        bail!("no --bind takes the socket `{name}`: add --bind systemd://{name}, or systemd://");
    }
    Ok(places)
}

/// Returns a sentence about the sockets that were passed.
fn said(names: &[String]) -> String {
    if names.is_empty() {
        return "systemd has passed none, so is there a socket unit for this service?".to_owned();
    }
    let names = names.iter().map(|name| format!("`{}`", printable(name, MAX_NAME)));
    format!("systemd has passed {}", names.collect::<Vec<_>>().join(", "))
}
