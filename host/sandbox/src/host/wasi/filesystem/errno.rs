//! Errors of the kernel as `wasi:filesystem/types.error-code`.

use std::io;

use rustix::io::Errno;
use wasmtime::component::{ComponentType, Lower};

macro_rules! error_codes {
    ($($case:ident $name:literal $errno:ident,)*) => {
        /// `error-code`. Each stands for one `errno`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
        #[component(enum)]
        #[repr(u8)]
        pub(super) enum ErrorCode {
            $(#[component(name = $name)] $case,)*
        }

        impl From<Errno> for ErrorCode {
            fn from(errno: Errno) -> Self {
                match errno {
                    $(Errno::$errno => ErrorCode::$case,)*
                    _ => ErrorCode::Io,
                }
            }
        }
    };
}

error_codes! {
    Access "access" ACCESS,
    WouldBlock "would-block" AGAIN,
    Already "already" ALREADY,
    BadDescriptor "bad-descriptor" BADF,
    Busy "busy" BUSY,
    Deadlock "deadlock" DEADLK,
    Quota "quota" DQUOT,
    Exist "exist" EXIST,
    FileTooLarge "file-too-large" FBIG,
    IllegalByteSequence "illegal-byte-sequence" ILSEQ,
    InProgress "in-progress" INPROGRESS,
    Interrupted "interrupted" INTR,
    Invalid "invalid" INVAL,
    Io "io" IO,
    IsDirectory "is-directory" ISDIR,
    Loop "loop" LOOP,
    TooManyLinks "too-many-links" MLINK,
    MessageSize "message-size" MSGSIZE,
    NameTooLong "name-too-long" NAMETOOLONG,
    NoDevice "no-device" NODEV,
    NoEntry "no-entry" NOENT,
    NoLock "no-lock" NOLCK,
    InsufficientMemory "insufficient-memory" NOMEM,
    InsufficientSpace "insufficient-space" NOSPC,
    NotDirectory "not-directory" NOTDIR,
    NotEmpty "not-empty" NOTEMPTY,
    NotRecoverable "not-recoverable" NOTRECOVERABLE,
    Unsupported "unsupported" OPNOTSUPP,
    NoTty "no-tty" NOTTY,
    NoSuchDevice "no-such-device" NXIO,
    Overflow "overflow" OVERFLOW,
    NotPermitted "not-permitted" PERM,
    Pipe "pipe" PIPE,
    ReadOnly "read-only" ROFS,
    InvalidSeek "invalid-seek" SPIPE,
    TextFileBusy "text-file-busy" TXTBSY,
    CrossDevice "cross-device" XDEV,
}

/// Converts an error. An error without an `errno` comes from `cap-std`: for a path that leads
/// out of a directory it is `not-permitted`.
impl From<&io::Error> for ErrorCode {
    fn from(error: &io::Error) -> Self {
        if let Some(errno) = Errno::from_io_error(error) {
            return errno.into();
        }
        match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorCode::NotPermitted,
            io::ErrorKind::InvalidInput => ErrorCode::Invalid,
            io::ErrorKind::NotADirectory => ErrorCode::NotDirectory,
            _ => ErrorCode::Io,
        }
    }
}

impl From<io::Error> for ErrorCode {
    fn from(error: io::Error) -> Self {
        (&error).into()
    }
}
