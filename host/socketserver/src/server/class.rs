//! The names of the twelve server classes of Python.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::Server;
use super::builder::ServerBuilder;
use crate::concurrency::{Concurrency, ConcurrencyKind, Forking, Threading};
use crate::handler::RequestHandler;
use crate::listen::endpoint::Endpoint;
use crate::text::printable;

/// The longest part of a wrong name that an error quotes, in bytes.
const MAX_QUOTED: usize = 100;

/// One of Python's server classes: the name of a transport and a way of running
/// requests, which are separate here ([`Endpoint`] and [`Concurrency`]).
///
/// ```
/// use socketserver::{Address, Request, ServerClass};
///
/// let handler = |request: &Request, client: &Address, _: &_| {
///     request.sendto(&request.data().to_ascii_uppercase(), client).map(drop)
/// };
/// let endpoint = "udp://127.0.0.1:0".parse()?;
/// let server = ServerClass::ThreadingUDPServer.builder(endpoint, handler)?.build()?;
/// # drop(server);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it, and the table of Python's names maps them")]
pub enum ServerClass {
    TCPServer,
    UDPServer,
    UnixStreamServer,
    UnixDatagramServer,
    ThreadingTCPServer,
    ThreadingUDPServer,
    ThreadingUnixStreamServer,
    ThreadingUnixDatagramServer,
    ForkingTCPServer,
    ForkingUDPServer,
    ForkingUnixStreamServer,
    ForkingUnixDatagramServer,
}

/// The error of a class that does not exist, or does not fit its endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClassError {
    /// No class has that name.
    #[error(
        "`{name}` is not one of Python's server classes: they are {all}",
        name = printable(.0, MAX_QUOTED),
        all = names()
    )]
    Unknown(String),
    /// The endpoint has another transport.
    #[error("{class} cannot listen on {endpoint}: give it {scheme}://", scheme = class.scheme())]
    Contradicts {
        /// The class.
        class: ServerClass,
        /// The endpoint.
        endpoint: Endpoint,
    },
}

impl ServerClass {
    /// Every class: first those that serve one request at a time, then those with
    /// threads, then those that fork.
    pub const ALL: [ServerClass; 12] = [
        ServerClass::TCPServer,
        ServerClass::UDPServer,
        ServerClass::UnixStreamServer,
        ServerClass::UnixDatagramServer,
        ServerClass::ThreadingTCPServer,
        ServerClass::ThreadingUDPServer,
        ServerClass::ThreadingUnixStreamServer,
        ServerClass::ThreadingUnixDatagramServer,
        ServerClass::ForkingTCPServer,
        ServerClass::ForkingUDPServer,
        ServerClass::ForkingUnixStreamServer,
        ServerClass::ForkingUnixDatagramServer,
    ];

    /// Returns the name of the class in Python.
    pub fn name(self) -> &'static str {
        match self {
            ServerClass::TCPServer => "TCPServer",
            ServerClass::UDPServer => "UDPServer",
            ServerClass::UnixStreamServer => "UnixStreamServer",
            ServerClass::UnixDatagramServer => "UnixDatagramServer",
            ServerClass::ThreadingTCPServer => "ThreadingTCPServer",
            ServerClass::ThreadingUDPServer => "ThreadingUDPServer",
            ServerClass::ThreadingUnixStreamServer => "ThreadingUnixStreamServer",
            ServerClass::ThreadingUnixDatagramServer => "ThreadingUnixDatagramServer",
            ServerClass::ForkingTCPServer => "ForkingTCPServer",
            ServerClass::ForkingUDPServer => "ForkingUDPServer",
            ServerClass::ForkingUnixStreamServer => "ForkingUnixStreamServer",
            ServerClass::ForkingUnixDatagramServer => "ForkingUnixDatagramServer",
        }
    }

    /// Returns the scheme of the endpoints that the class listens on: `tcp`, `udp`,
    /// `unix` or `unixgram`.
    pub fn scheme(self) -> &'static str {
        let base = self.name().trim_start_matches("Threading").trim_start_matches("Forking");
        match base {
            "TCPServer" => "tcp",
            "UDPServer" => "udp",
            "UnixStreamServer" => "unix",
            _ => "unixgram",
        }
    }

    /// Returns the way in which the class runs requests.
    pub fn concurrency_kind(self) -> ConcurrencyKind {
        if self.name().starts_with("Threading") {
            ConcurrencyKind::Threading
        } else if self.name().starts_with("Forking") {
            ConcurrencyKind::Forking
        } else {
            ConcurrencyKind::Sync
        }
    }

    /// Returns the way in which the class runs requests, with Python's settings.
    pub fn concurrency(self) -> Concurrency {
        match self.concurrency_kind() {
            ConcurrencyKind::Threading => Concurrency::Threading(Threading::new()),
            ConcurrencyKind::Forking => Concurrency::Forking(Forking::new()),
            ConcurrencyKind::Sync | ConcurrencyKind::Fibers | ConcurrencyKind::Workers => {
                Concurrency::Sync
            }
        }
    }

    /// Checks that the class listens on endpoints of that transport.
    ///
    /// # Errors
    ///
    /// The endpoint has another transport. The error names the right scheme.
    pub fn check(self, endpoint: &Endpoint) -> Result<(), ClassError> {
        if endpoint.scheme() == self.scheme() {
            return Ok(());
        }
        Err(ClassError::Contradicts { class: self, endpoint: endpoint.clone() })
    }

    /// Returns the builder of a server of this class: Python's `CLASS(server_address,
    /// RequestHandlerClass)`, before it binds.
    ///
    /// # Errors
    ///
    /// The endpoint has another transport.
    pub fn builder(
        self,
        endpoint: Endpoint,
        handler: impl RequestHandler,
    ) -> Result<ServerBuilder, ClassError> {
        self.check(&endpoint)?;
        Ok(Server::builder(handler).bind(endpoint).concurrency(self.concurrency()))
    }
}

fn names() -> String {
    ServerClass::ALL.map(ServerClass::name).join(", ")
}

impl fmt::Display for ServerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ServerClass {
    type Err = ClassError;

    /// Parses the name of the class in Python.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = ServerClass::ALL.into_iter().find(|class| class.name() == text);
        found.ok_or_else(|| ClassError::Unknown(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_transport_and_its_concurrency() {
        let endpoint = |text: &str| text.parse::<Endpoint>().unwrap();
        for class in ServerClass::ALL {
            assert_eq!(class.to_string().parse(), Ok(class));
            for scheme in ["tcp", "udp", "unix", "unixgram"] {
                let address = if scheme.starts_with("unix") { "@name" } else { "127.0.0.1:0" };
                let fits = class.check(&endpoint(&format!("{scheme}://{address}")));
                assert_eq!(fits.is_ok(), scheme == class.scheme(), "{class} {scheme}");
            }
            let concurrency = class.concurrency();
            let expected = match class.name() {
                name if name.starts_with("Threading") => "Threading",
                name if name.starts_with("Forking") => "Forking",
                _ => "Sync",
            };
            assert!(format!("{concurrency:?}").starts_with(expected), "{class}");
        }
    }

    #[test]
    fn an_error_names_the_right_class_or_scheme() {
        let unknown = "HTTPServer".parse::<ServerClass>().unwrap_err().to_string();
        assert!(unknown.contains("`HTTPServer`") && unknown.contains("ForkingUDPServer"));
        let long = "\n".repeat(1000).parse::<ServerClass>().unwrap_err().to_string();
        assert!(long.len() < 600 && !long.contains('\n'), "{long:?}");
        let endpoint = "tcp://127.0.0.1:0".parse().unwrap();
        let error = ServerClass::UDPServer.check(&endpoint).unwrap_err().to_string();
        assert_eq!(error, "UDPServer cannot listen on tcp://127.0.0.1:0: give it udp://");
    }
}
