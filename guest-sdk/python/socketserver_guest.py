"""Python's request handlers, on top of the bindings that componentize-py generates."""

import atexit
import errno
import functools
import ipaddress
import os
import sys
import traceback

from componentize_py_types import Err
from wit_world.imports import types


class BaseRequestHandler:
    """Python's `socketserver.BaseRequestHandler`.

    An object of a subclass serves one request. The attribute `request` is the
    socket, or for a datagram the pair of its data and the socket to reply on.
    The attribute `client_address` is the address of the client.
    """

    def setup(self):
        pass

    def handle(self):
        pass

    def finish(self):
        pass


def stream_request(handler_class):
    """Return the class `StreamRequest` of the contract for a handler class."""

    class StreamRequest(_Request):
        def setup(self, request, client_address):
            address = _from_contract(client_address)
            socket = Socket(request, client_address)
            _Request.begin(handler_class, socket, address)

    return handler(StreamRequest)


def datagram_request(handler_class):
    """Return the class `DatagramRequest` of the contract for a handler class."""

    class DatagramRequest(_Request):
        def setup(self, request, client_address):
            data, socket = request
            address = _from_contract(client_address)
            socket = Socket(socket, client_address)
            _Request.begin(handler_class, (data, socket), address)

    return handler(DatagramRequest)


class Socket:
    """The request socket with the methods and the exceptions of Python's `socket`."""

    def __init__(self, socket, client):
        self._socket = socket
        self._client = client

    def recv(self, bufsize):
        return _call(self._socket.recv, bufsize)

    def send(self, data):
        return _call(self._socket.send, bytes(data))

    def sendall(self, data):
        _call(self._socket.sendall, bytes(data))

    def sendto(self, data, address):
        if address != _from_contract(self._client):
            raise PermissionError(errno.EACCES, "a handler may send to its own client only")
        return _call(self._socket.sendto, bytes(data), self._client)

    def shutdown(self, how):
        _call(self._socket.shutdown, types.ShutdownHow(how))

    def close(self):
        _call(self._socket.close)

    def getpeername(self):
        return _from_contract(_call(self._socket.getpeername))

    def getsockname(self):
        return _from_contract(_call(self._socket.getsockname))

    def settimeout(self, value):
        _call(self._socket.settimeout, None if value is None else float(value))

    def gettimeout(self):
        return _call(self._socket.gettimeout)

    def getsockopt(self, level, optname):
        return _call(self._socket.getsockopt, level, optname)

    def setsockopt(self, level, optname, value):
        _call(self._socket.setsockopt, level, optname, value)

    def fileno(self):
        return _call(self._socket.fileno)


def handler(cls):
    """Make the requests of a class of the contract end as a program ends.

    After `finish`, and after a `setup` that fails, the functions of `atexit` run,
    including those of `weakref.finalize` and `logging`. Then the standard streams
    are flushed.
    """
    cls.setup = _exits_after(cls.setup, on_success=False)
    cls.finish = _exits_after(cls.finish, on_success=True)
    return cls


class _Request:
    # On the class: componentize-py creates a new object for each method.
    current = None

    @staticmethod
    def begin(handler_class, request, client_address):
        current = handler_class.__new__(handler_class)
        current.request = request
        current.client_address = client_address
        _Request.current = current
        _report(current.setup)

    def handle(self):
        _report(_Request.current.handle)

    def finish(self):
        _report(_Request.current.finish)


def _report(method):
    """Call a method of a handler. An exception becomes the error of the request."""
    try:
        method()
    except Err:
        raise
    except Exception as error:
        # The log has one line for an error of the socket, as in the other languages.
        if not isinstance(error, OSError):
            traceback.print_exc()
        raise Err(f"{type(error).__name__}: {error}") from None


def _call(method, *args):
    """Call a method of the contract. An error code becomes an exception."""
    try:
        return method(*args)
    except Err as error:
        raise OSError(*_ERRORS[error.value.value]) from None


# The cases of `error-code`, in its order. The texts are the same in every language.
_ERRORS = (
    (errno.ETIMEDOUT, "timed out"),
    (errno.EAGAIN, "resource temporarily unavailable"),
    (errno.EINPROGRESS, "operation now in progress"),
    (errno.EALREADY, "operation already in progress"),
    (errno.EBADF, "bad file descriptor"),
    (errno.EACCES, "permission denied"),
    (errno.ECONNRESET, "connection reset by peer"),
    (errno.ECONNABORTED, "software caused connection abort"),
    (errno.ECONNREFUSED, "connection refused"),
    (errno.EPIPE, "broken pipe"),
    (errno.ENOTCONN, "socket is not connected"),
    (errno.EISCONN, "socket is already connected"),
    (errno.EADDRINUSE, "address already in use"),
    (errno.EADDRNOTAVAIL, "cannot assign requested address"),
    (errno.EAFNOSUPPORT, "address family not supported by protocol"),
    (errno.EDESTADDRREQ, "destination address required"),
    (errno.EHOSTUNREACH, "no route to host"),
    (errno.ENETUNREACH, "network is unreachable"),
    (errno.ENETDOWN, "network is down"),
    (errno.EMSGSIZE, "message too long"),
    (errno.EINVAL, "invalid argument"),
    (errno.ENOENT, "no such file or directory"),
    (errno.ENOPROTOOPT, "protocol not available"),
    (errno.EPROTONOSUPPORT, "protocol not supported"),
    (errno.EPROTOTYPE, "protocol wrong type for socket"),
    (errno.EOPNOTSUPP, "operation not supported"),
    (errno.ENOBUFS, "no buffer space available"),
    (errno.ENOMEM, "cannot allocate memory"),
    (errno.EMFILE, "too many open files"),
    (errno.EIO, "unexpected error, named in the log of the host"),
)


def _from_contract(address):
    """Return an address as Python has it."""
    value = address.value
    match address:
        case types.Address_Ipv4():
            return ".".join(map(str, value.host)), value.port
        case types.Address_Ipv6():
            packed = b"".join(group.to_bytes(2) for group in value.host)
            host = str(ipaddress.IPv6Address(packed))
            return host, value.port, value.flowinfo, value.scope_id
    match value:
        case types.UnixAddress_Pathname(path):
            return os.fsdecode(path)
        case types.UnixAddress_Abstract(name):
            return b"\0" + name
        case _:
            return ""


def _exits_after(method, *, on_success):
    @functools.wraps(method)
    def wrapper(*args):
        exits = True
        try:
            method(*args)
            exits = on_success
        except SystemExit:
            # The end of the interpreter runs these functions.
            exits = False
            raise
        finally:
            if exits:
                _exit()

    return wrapper


def _exit():
    # The functions that `threading` registers are not called: there are no threads. If
    # a function fails, `atexit` reports it on standard error and calls the next one.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # The handler replaced or closed the stream, or it cannot be written to.
            pass
