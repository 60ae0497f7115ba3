use crate::bindings::socketserver::handler::types::ErrorCode;
use std::io;

/// Makes [`Error`] and what is known of each case from one table.
macro_rules! errors {
    ($($(#[$doc:meta])* $case:ident: $kind:ident, $text:literal;)*) => {
        /// Why a call on a [`Socket`](crate::Socket) failed.
        ///
        /// Each case stands for one `errno` of POSIX; the documentation of the
        /// case names it and the exception that Python raises. Displayed, an
        /// error reads as Python's `strerror` does. As an [`io::Error`] it has
        /// the [`io::ErrorKind`] that comes nearest.
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
    /// The socket's own timeout ran out, or ETIMEDOUT. `TimeoutError`.
    TimedOut: TimedOut, "timed out";
    /// The timeout is zero and the call would have had to wait: EAGAIN.
    /// `BlockingIOError`.
    WouldBlock: WouldBlock, "resource temporarily unavailable";
    /// A connect that goes on by itself: EINPROGRESS. `BlockingIOError`.
    InProgress: WouldBlock, "operation now in progress";
    /// Such a connect is still going on: EALREADY. `BlockingIOError`.
    Already: WouldBlock, "operation already in progress";
    /// This handler closed the socket: EBADF. `OSError`.
    Closed: Other, "bad file descriptor";
    /// The policy of the host does not allow it, and its log says what would:
    /// EACCES, EPERM. `PermissionError`.
    Denied: PermissionDenied, "permission denied";
    /// The other end closed with data unread, or died: ECONNRESET.
    /// `ConnectionResetError`.
    ConnectionReset: ConnectionReset, "connection reset by peer";
    /// ECONNABORTED. `ConnectionAbortedError`.
    ConnectionAborted: ConnectionAborted, "software caused connection abort";
    /// ECONNREFUSED. `ConnectionRefusedError`.
    ConnectionRefused: ConnectionRefused, "connection refused";
    /// Sending after the other end closed, or after shutting down the writing
    /// half: EPIPE. `BrokenPipeError`.
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
    /// A datagram larger than the transport can carry: EMSGSIZE. `OSError`.
    MessageTooLong: InvalidInput, "message too long";
    /// A number or a value out of its range: EINVAL. `ValueError`.
    InvalidArgument: InvalidInput, "invalid argument";
    /// No file at that path: ENOENT. `FileNotFoundError`.
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
    /// The handler holds as many sockets as it may: EMFILE. `OSError`.
    TooManyOpenFiles: Other, "too many open files";
    /// Any other `errno`; the log of the host names it. `OSError`.
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
    fn keeps_the_case_and_its_text_as_an_io_error() {
        for case in Error::ALL {
            let error = io::Error::from(*case);
            assert_eq!(error.kind(), case.kind());
            assert_eq!(error.to_string(), case.to_string());
            let inside = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
            assert_eq!(inside, Some(case));
        }
    }

    #[test]
    fn tells_the_cases_apart() {
        let texts: HashSet<_> = Error::ALL.iter().map(|case| case.text()).collect();
        assert_eq!(texts.len(), Error::ALL.len());
    }

    #[test]
    fn maps_what_std_io_acts_on() {
        let kind = |code: ErrorCode| io::Error::from(Error::from(code)).kind();
        assert_eq!(kind(ErrorCode::TimedOut), io::ErrorKind::TimedOut);
        assert_eq!(kind(ErrorCode::WouldBlock), io::ErrorKind::WouldBlock);
        assert_eq!(kind(ErrorCode::BrokenPipe), io::ErrorKind::BrokenPipe);
        assert_eq!(kind(ErrorCode::ConnectionReset), io::ErrorKind::ConnectionReset);
    }
}
