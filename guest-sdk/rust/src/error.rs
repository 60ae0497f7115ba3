use crate::bindings::socketserver::handler::types::ErrorCode;
use std::io;

/// Defines [`Error`], and the kind and text of each variant, from one table.
macro_rules! errors {
    ($($(#[$doc:meta])* $case:ident: $kind:ident, $text:literal;)*) => {
        /// The error of a failed call on a [`Socket`](crate::Socket).
        ///
        /// Each variant stands for one `errno` of POSIX. Its documentation names the
        /// `errno` and the exception that Python raises. [`Display`](std::fmt::Display)
        /// writes the text of Python's `os.strerror` in lower case. As an [`io::Error`]
        /// it has the nearest [`io::ErrorKind`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Error {
            $($(#[$doc])* $case,)*
        }

        impl Error {
            fn kind(self) -> io::ErrorKind {
                match self {
                    $(Self::$case => io::ErrorKind::$kind,)*
                }
            }

            fn text(self) -> &'static str {
                match self {
                    $(Self::$case => $text,)*
                }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$case,)*];
        }

        impl From<ErrorCode> for Error {
            fn from(code: ErrorCode) -> Self {
                match code {
                    $(ErrorCode::$case => Self::$case,)*
                }
            }
        }
    };
}

errors! {
    /// The timeout of the socket expired, or ETIMEDOUT. `TimeoutError`.
    TimedOut: TimedOut, "timed out";
    /// The timeout is zero and the call would have to wait: EAGAIN.
    /// `BlockingIOError`.
    WouldBlock: WouldBlock, "resource temporarily unavailable";
    /// A connect continues in the background: EINPROGRESS. `BlockingIOError`.
    InProgress: WouldBlock, "operation now in progress";
    /// A connect is still in progress: EALREADY. `BlockingIOError`.
    Already: WouldBlock, "operation already in progress";
    /// This handler closed the socket: EBADF. `OSError`.
    Closed: Other, "bad file descriptor";
    /// The host's policy does not allow the call: EACCES, EPERM.
    /// `PermissionError`. The host's log names the call.
    Denied: PermissionDenied, "permission denied";
    /// The other end reset the connection, as by closing it with unread data:
    /// ECONNRESET. `ConnectionResetError`.
    ConnectionReset: ConnectionReset, "connection reset by peer";
    /// ECONNABORTED. `ConnectionAbortedError`.
    ConnectionAborted: ConnectionAborted, "software caused connection abort";
    /// ECONNREFUSED. `ConnectionRefusedError`.
    ConnectionRefused: ConnectionRefused, "connection refused";
    /// The other end closed the connection, or the writing half is shut down:
    /// EPIPE. `BrokenPipeError`.
    BrokenPipe: BrokenPipe, "broken pipe";
    /// ENOTCONN. `OSError`.
    NotConnected: NotConnected, "socket is not connected";
    /// EISCONN. `OSError`.
    IsConnected: Other, "socket is already connected";
    /// EADDRINUSE. `OSError`.
    AddressInUse: AddrInUse, "address already in use";
    /// EADDRNOTAVAIL. `OSError`.
    AddressNotAvailable: AddrNotAvailable, "cannot assign requested address";
    /// EAFNOSUPPORT. `OSError`.
    AddressFamilyNotSupported: Unsupported, "address family not supported by protocol";
    /// EDESTADDRREQ. `OSError`.
    DestinationAddressRequired: InvalidInput, "destination address required";
    /// EHOSTUNREACH. `OSError`.
    HostUnreachable: HostUnreachable, "no route to host";
    /// ENETUNREACH. `OSError`.
    NetworkUnreachable: NetworkUnreachable, "network is unreachable";
    /// ENETDOWN. `OSError`.
    NetworkDown: NetworkDown, "network is down";
    /// The datagram is larger than the transport can carry: EMSGSIZE. `OSError`.
    MessageTooLong: InvalidInput, "message too long";
    /// A value is out of its range: EINVAL. `ValueError`.
    InvalidArgument: InvalidInput, "invalid argument";
    /// The path names no file: ENOENT. `FileNotFoundError`.
    NoSuchFile: NotFound, "no such file or directory";
    /// ENOPROTOOPT. `OSError`.
    NoProtocolOption: Unsupported, "protocol not available";
    /// EPROTONOSUPPORT. `OSError`.
    ProtocolNotSupported: Unsupported, "protocol not supported";
    /// EPROTOTYPE. `OSError`.
    WrongProtocolType: InvalidInput, "protocol wrong type for socket";
    /// EOPNOTSUPP. `OSError`.
    NotSupported: Unsupported, "operation not supported";
    /// ENOBUFS. `OSError`.
    NoBufferSpace: Other, "no buffer space available";
    /// ENOMEM. `OSError`.
    NotEnoughMemory: OutOfMemory, "cannot allocate memory";
    /// The handler has reached its limit of open sockets: EMFILE. `OSError`.
    TooManyOpenFiles: Other, "too many open files";
    /// Any other `errno`, which the host's log names. `OSError`.
    Other: Other, "unexpected error, named in the log of the host";
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_io_error_keeps_the_variant_and_its_text() {
        for case in Error::ALL {
            let error = io::Error::from(*case);
            assert_eq!(error.kind(), case.kind());
            assert_eq!(error.to_string(), case.to_string());
            let inside = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
            assert_eq!(inside, Some(case));
        }
    }

    #[test]
    fn every_variant_has_a_text_of_its_own() {
        let texts: HashSet<_> = Error::ALL.iter().map(|case| case.text()).collect();
        assert_eq!(texts.len(), Error::ALL.len());
    }

    #[test]
    fn error_codes_have_the_kinds_that_std_io_handles() {
        let kind = |code: ErrorCode| io::Error::from(Error::from(code)).kind();
        assert_eq!(kind(ErrorCode::TimedOut), io::ErrorKind::TimedOut);
        assert_eq!(kind(ErrorCode::WouldBlock), io::ErrorKind::WouldBlock);
        assert_eq!(kind(ErrorCode::BrokenPipe), io::ErrorKind::BrokenPipe);
        assert_eq!(kind(ErrorCode::ConnectionReset), io::ErrorKind::ConnectionReset);
    }
}
