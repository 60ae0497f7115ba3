//! The errors of requests and of servers.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustix::io::Errno;
use thiserror::Error;

use crate::capacity::Capacity;
use crate::listen::bind_hint::BindHint;
use crate::listen::options::OptionError;
use crate::reason::{Blame, Reason};
use crate::request::deadlines::{IdleTimeout, WallTimeout};
use crate::request::traffic::{ReceiveLimit, SendLimit};

/// The failure of a request: in Python, `handle_error` finds it in `sys.exc_info()`.
///
/// `{}` prints the error that [`new`](Self::new) was given, and `{:#}` also its causes,
/// each after a colon. [`source`](StdError::source) is the first cause.
#[derive(Debug)]
pub struct HandlerError {
    reason: Reason,
    source: Box<dyn StdError + Send + Sync>,
}

impl HandlerError {
    /// Makes an error with this reason; `source` describes what happened.
    pub fn new(reason: Reason, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        HandlerError { reason, source: source.into() }
    }

    /// Returns the party to blame, which the reason decides.
    pub fn blame(&self) -> Blame {
        self.reason.blame()
    }

    /// Returns the reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

/// Python's exception of that name, as an error that a handler returns. It is
/// not reported, and its effect depends on the way in which requests run.
///
/// | concurrency | what ends |
/// |---|---|
/// | one at a time | the loop, with [`ServeError::SystemExit`] |
/// | threads | the request |
/// | processes | the request, and its process with status 1 |
///
/// ```
/// use socketserver::{HandlerError, Reason, SystemExit};
///
/// let error = HandlerError::from(SystemExit(3));
/// assert_eq!(error.reason(), Reason::Exit);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the handler exits with status {0}")]
pub struct SystemExit(pub i32);

impl From<SystemExit> for HandlerError {
    fn from(exit: SystemExit) -> Self {
        HandlerError::new(Reason::Exit, exit)
    }
}

impl HandlerError {
    /// Returns the exit status, if the handler returned [`SystemExit`].
    pub fn system_exit(&self) -> Option<SystemExit> {
        self.source.downcast_ref::<SystemExit>().copied()
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        let mut cause = self.source.source().filter(|_| f.alternate());
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for HandlerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}

impl From<io::Error> for HandlerError {
    /// Converts an error of the request socket that the handler returned: the client has
    /// caused most of them.
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        if let Some(inner) = error.get_ref() {
            let limit = match inner {
                _ if inner.is::<IdleTimeout>() => Some(Reason::IdleTimeout),
                _ if inner.is::<WallTimeout>() => Some(Reason::WallTime),
                _ if inner.is::<ReceiveLimit>() => Some(Reason::Received),
                _ if inner.is::<SendLimit>() => Some(Reason::Sent),
                _ => None,
            };
            if let Some(reason) = limit {
                return HandlerError::new(reason, error);
            }
        }
        let reason = match error.kind() {
            Kind::ConnectionReset
            | Kind::BrokenPipe
            | Kind::ConnectionAborted
            | Kind::NotConnected
            | Kind::ConnectionRefused => Reason::ConnectionLost,
            Kind::TimedOut => Reason::TimedOut,
            // The client's Unix socket has no name.
            _ if Errno::from_io_error(&error) == Some(Errno::DESTADDRREQ) => Reason::NoAddress,
            _ => Reason::Error,
        };
        HandlerError::new(reason, error)
    }
}

impl From<Box<dyn StdError + Send + Sync>> for HandlerError {
    fn from(error: Box<dyn StdError + Send + Sync>) -> Self {
        HandlerError::new(Reason::Error, error)
    }
}

impl From<String> for HandlerError {
    fn from(error: String) -> Self {
        HandlerError::new(Reason::Error, error)
    }
}

impl From<&str> for HandlerError {
    fn from(error: &str) -> Self {
        HandlerError::new(Reason::Error, error)
    }
}

/// The error of [`ServerBuilder::build`](crate::ServerBuilder::build). It prints without
/// its cause, which is its [`source`](StdError::source).
#[derive(Debug, Error)]
pub enum BuildError {
    /// The builder has no endpoint.
    #[error("a server needs an address: call `bind` on its builder")]
    NoAddress,
    /// The endpoint cannot be bound. Python's constructor raises this `OSError`.
    #[error("cannot listen on {endpoint}")]
    Bind {
        /// The endpoint.
        endpoint: crate::Endpoint,
        /// The error of the kernel.
        #[source]
        error: io::Error,
        /// Advice, if there is any.
        hint: Option<BindHint>,
    },
    /// An option does not fit the socket.
    #[error("cannot listen on {endpoint}: {error}")]
    Options {
        /// The endpoint.
        endpoint: crate::Endpoint,
        /// The option, and the reason.
        error: OptionError,
    },
    /// The handler cannot answer requests of the endpoint.
    #[error("cannot serve {endpoint}: {reason}")]
    WrongHandler {
        /// The endpoint.
        endpoint: crate::Endpoint,
        /// The reason, by the handler.
        reason: String,
    },
    /// A socket cannot take connections from proxies.
    #[error("{0}")]
    Proxies(String),
    /// A socket has no connections that could wait for their first byte.
    #[error("{0}")]
    DeferAccept(String),
    /// A socket cannot have TLS.
    #[error("{0}")]
    Tls(String),
    /// The settings ask for more requests at once than the machine can hold.
    #[error(
        "{asked} requests at once are more than this machine can hold: {capacity}; ask for fewer, or raise that limit"
    )]
    TooManyRequests {
        /// The number in the settings.
        asked: usize,
        /// The capacity of the machine.
        capacity: Capacity,
    },
    /// The kernel refused another resource that the loop needs.
    #[error("cannot make the server")]
    Os(#[from] io::Error),
}

/// The error of `serve_forever` and `handle_request`. It prints without its cause, which
/// is its [`source`](StdError::source).
#[derive(Debug, Error)]
pub enum ServeError {
    /// The server is closed.
    #[error("the server is closed")]
    Closed,
    /// The loop runs already, in another thread.
    #[error("the server is already serving in another thread")]
    Busy,
    /// The server forks, and this process has other threads.
    #[error(
        "a server that forks needs a process with one thread, and this one has {0}: start it before the others"
    )]
    Threads(u64),
    /// Worker processes serve the requests, and `handle_request` does not start
    /// workers.
    #[error("a server with workers has no requests of its own: call `serve_forever`")]
    Workers,
    /// A handler asked for the end of the process. The server still listens.
    #[error("{0}")]
    SystemExit(SystemExit),
    /// The kernel refused to wait for requests.
    #[error("cannot wait for requests")]
    Wait(#[from] io::Error),
}

/// The error of `shutdown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ShutdownError {
    /// The thread that serves has called it, and would have waited for itself; CPython
    /// deadlocks here. The loop ends when that thread returns to it.
    #[error(
        "shutdown() was called from the thread that serves, and cannot wait for it; the loop ends when the handler returns"
    )]
    OwnThread,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text of an error and of its causes as one sentence.
    fn sentence(error: &(dyn StdError + 'static)) -> String {
        let causes = std::iter::successors(Some(error), |error| StdError::source(*error));
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    #[test]
    fn an_error_prints_without_its_cause() {
        let os = || io::Error::from(Errno::ACCESS);
        let endpoint: crate::Endpoint = "tcp://127.0.0.1:1".parse().unwrap();
        let said = os().to_string();
        let errors: [(Box<dyn StdError>, &str); 5] = [
            (
                BuildError::Bind { endpoint, error: os(), hint: None }.into(),
                "cannot listen on tcp://127.0.0.1:1: ",
            ),
            (BuildError::Os(os()).into(), "cannot make the server: "),
            (ServeError::Wait(os()).into(), "cannot wait for requests: "),
            (
                HandlerError::new(Reason::NoInstance, BuildError::Os(os())).into(),
                "cannot make the server: ",
            ),
            (HandlerError::from(os()).into(), ""),
        ];
        for (error, begin) in errors {
            assert_eq!(sentence(&*error), format!("{begin}{said}"));
        }
    }

    #[test]
    fn a_handler_error_prints_its_causes_in_the_alternate_form() {
        let error = || HandlerError::new(Reason::NoInstance, BuildError::Os(Errno::ACCESS.into()));
        let whole = format!("cannot make the server: {}", io::Error::from(Errno::ACCESS));
        assert_eq!(error().to_string(), "cannot make the server");
        assert_eq!(format!("{:#}", error()), whole);
        let both =
            crate::handler::combine_results(Err(error()), Err("it broke".into())).unwrap_err();
        assert_eq!(format!("{both:#}"), format!("it broke; before that, handle: {whole}"));
        assert_eq!(sentence(&both), format!("{both:#}"));
    }
}
