//! Error codes of the contract for errors of the kernel.

use std::io;

use rustix::io::Errno;

use crate::host::bindings::types::ErrorCode;

/// Returns the case of `types.error-code` for an error of a socket.
pub(super) fn error_code(error: &io::Error) -> ErrorCode {
    let Some(errno) = error.raw_os_error() else {
        return match error.kind() {
            io::ErrorKind::TimedOut => ErrorCode::TimedOut,
            _ => ErrorCode::Other,
        };
    };
    match Errno::from_raw_os_error(errno) {
        Errno::TIMEDOUT => ErrorCode::TimedOut,
        Errno::AGAIN => ErrorCode::WouldBlock,
        Errno::INPROGRESS => ErrorCode::InProgress,
        Errno::ALREADY => ErrorCode::Already,
        Errno::BADF => ErrorCode::Closed,
        Errno::ACCESS | Errno::PERM => ErrorCode::Denied,
        Errno::CONNRESET => ErrorCode::ConnectionReset,
        Errno::CONNABORTED => ErrorCode::ConnectionAborted,
        Errno::CONNREFUSED => ErrorCode::ConnectionRefused,
        Errno::PIPE => ErrorCode::BrokenPipe,
        Errno::NOTCONN => ErrorCode::NotConnected,
        Errno::ISCONN => ErrorCode::IsConnected,
        Errno::ADDRINUSE => ErrorCode::AddressInUse,
        Errno::ADDRNOTAVAIL => ErrorCode::AddressNotAvailable,
        Errno::AFNOSUPPORT => ErrorCode::AddressFamilyNotSupported,
        Errno::DESTADDRREQ => ErrorCode::DestinationAddressRequired,
        Errno::HOSTUNREACH => ErrorCode::HostUnreachable,
        Errno::NETUNREACH => ErrorCode::NetworkUnreachable,
        Errno::NETDOWN => ErrorCode::NetworkDown,
        Errno::MSGSIZE => ErrorCode::MessageTooLong,
        Errno::INVAL => ErrorCode::InvalidArgument,
        Errno::NOENT => ErrorCode::NoSuchFile,
        Errno::NOPROTOOPT => ErrorCode::NoProtocolOption,
        Errno::PROTONOSUPPORT => ErrorCode::ProtocolNotSupported,
        Errno::PROTOTYPE => ErrorCode::WrongProtocolType,
        Errno::OPNOTSUPP => ErrorCode::NotSupported,
        Errno::NOBUFS => ErrorCode::NoBufferSpace,
        Errno::NOMEM => ErrorCode::NotEnoughMemory,
        Errno::MFILE | Errno::NFILE => ErrorCode::TooManyOpenFiles,
        _ => ErrorCode::Other,
    }
}
