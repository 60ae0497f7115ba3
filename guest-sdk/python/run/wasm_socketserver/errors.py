"""The exceptions for the errors of the contract."""

import errno
import os

from componentize_py_types import Err

# The cases of `error-code`, in its order.
_NUMBERS = (
    errno.ETIMEDOUT,
    errno.EAGAIN,
    errno.EINPROGRESS,
    errno.EALREADY,
    errno.EBADF,
    errno.EACCES,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.EPIPE,
    errno.ENOTCONN,
    errno.EISCONN,
    errno.EADDRINUSE,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.EDESTADDRREQ,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EMSGSIZE,
    errno.EINVAL,
    errno.ENOENT,
    errno.ENOPROTOOPT,
    errno.EPROTONOSUPPORT,
    errno.EPROTOTYPE,
    errno.EOPNOTSUPP,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EMFILE,
    errno.EIO,
)
_TEXTS = tuple(os.strerror(number) for number in _NUMBERS)


def call(method, *args):
    """Call a method of the contract. An error code becomes an exception."""
    try:
        return method(*args)
    except Err as error:
        case = error.value.value
    if case == 0:
        # As CPython does when the timeout of a socket has passed.
        raise TimeoutError("timed out")
    raise OSError(_NUMBERS[case], _TEXTS[case])


def denied(what):
    """Return the error for a call that no handler may make. The text says why, and what to do."""
    return PermissionError(errno.EACCES, what)


def unsupported(what):
    """Return the error for something that the sandbox does not have."""
    return OSError(errno.ENOTSUP, what)
