//! The servers that a Python file makes.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use socketserver::{Address, ConcurrencyKind, Endpoint, SocketType, UnixAddress, printable};

/// The longest name of a class that is shown, in bytes.
const MAX_NAME: usize = 100;
/// The folder of a program, as the program sees it.
pub const FOLDER: &str = "/0";

/// The facts about a program. They come from the file, so they are as trusted as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The servers: at most one for connections and one for datagrams.
    pub servers: Vec<ProgramServer>,
}

/// A server of a program.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramServer {
    /// The kind of its requests.
    pub kind: Kind,
    /// The name of its class.
    pub class: String,
    /// The name of its `RequestHandlerClass`.
    pub handler: String,
    /// Its address, as `--bind` has it.
    pub bind: String,
    /// The way in which requests run, by its class.
    pub concurrency: String,
    /// The attributes that the program sets.
    pub attributes: Attributes,
    /// The settings of the program that the host does not know.
    pub ignored: Vec<String>,
}

/// The kind of the requests of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Connections.
    Stream,
    /// Datagrams.
    Datagram,
}

impl Kind {
    /// Returns the type of the sockets that have such requests.
    pub fn socket_type(self) -> SocketType {
        match self {
            Kind::Stream => SocketType::Stream,
            Kind::Datagram => SocketType::Dgram,
        }
    }
}

/// Python's attributes of a server. What is not set has the default of `serve`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attributes {
    /// `request_queue_size`
    pub request_queue_size: Option<i64>,
    /// `allow_reuse_address`
    pub allow_reuse_address: Option<Truth>,
    /// `allow_reuse_port`
    pub allow_reuse_port: Option<Truth>,
    /// `max_packet_size`
    pub max_packet_size: Option<i64>,
    /// `max_children`
    pub max_children: Option<i64>,
    /// `daemon_threads`
    pub daemon_threads: Option<Truth>,
    /// `block_on_close`
    pub block_on_close: Option<Truth>,
    /// `timeout`
    pub timeout: Option<f64>,
    /// The argument of `serve_forever`.
    pub poll_interval: Option<f64>,
    /// The permissions of the file of its Unix socket, by `os.umask` and `os.chmod`.
    pub socket_mode: Option<i64>,
}

/// A value that Python takes for true or false.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Truth {
    /// `True` or `False`.
    Bool(bool),
    /// A number, such as the `1` of `allow_reuse_address` in `http.server`.
    Number(f64),
}

impl From<Truth> for bool {
    fn from(truth: Truth) -> bool {
        match truth {
            Truth::Bool(value) => value,
            Truth::Number(value) => value != 0.0,
        }
    }
}

impl ProgramServer {
    /// Returns the address. A path in the folder of the program is one in `folder`.
    ///
    /// # Errors
    ///
    /// The server cannot have such an address.
    pub fn endpoint(&self, folder: &Path) -> Result<Endpoint> {
        let endpoint: Endpoint = self
            .bind
            .parse()
            .with_context(|| format!("`{}` cannot be bound", printable(&self.class, MAX_NAME)))?;
        let endpoint = match endpoint.address() {
            Address::Unix(UnixAddress::Pathname(path)) => match path.strip_prefix(FOLDER) {
                Ok(below) => {
                    let address = UnixAddress::Pathname(folder.join(below));
                    Endpoint::new(endpoint.socket_type(), address.into())
                        .with_options(endpoint.options().clone())
                }
                Err(_) => endpoint,
            },
            _ => endpoint,
        };
        if endpoint.socket_type() != self.kind.socket_type() {
            bail!("`{}` is not at an address for its requests: {endpoint}", self.class);
        }
        Ok(endpoint)
    }
}

impl Program {
    /// Returns how requests run. If the servers differ, in processes rather than in threads,
    /// and in threads rather than one at a time.
    pub fn concurrency(&self) -> ConcurrencyKind {
        let has = |name| self.servers.iter().any(|server| server.concurrency == name);
        if has("forking") {
            ConcurrencyKind::Forking
        } else if has("threading") {
            ConcurrencyKind::Threading
        } else {
            ConcurrencyKind::Sync
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_the_server_cannot_have_is_an_error() {
        let server = |bind: &str| ProgramServer {
            kind: Kind::Stream,
            class: "S".to_owned(),
            handler: "H".to_owned(),
            bind: bind.to_owned(),
            concurrency: "sync".to_owned(),
            attributes: Attributes::default(),
            ignored: Vec::new(),
        };
        let error = |bind| format!("{:#}", server(bind).endpoint(Path::new("")).unwrap_err());
        assert!(server("tcp://127.0.0.1:1").endpoint(Path::new("")).is_ok());
        let below = server("unix:///0/a.sock").endpoint(Path::new("folder")).unwrap();
        assert_eq!(below.to_string(), "unix://folder/a.sock");
        assert!(error("tcp://\u{1b}").contains("`S` cannot be bound"));
        assert!(error("udp://127.0.0.1:1").contains("not at an address for its requests"));
    }
}
