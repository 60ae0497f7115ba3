"""Python's request handlers, on top of the bindings that componentize-py generates."""

import atexit
import errno
import functools
import ipaddress
import os
import socket as _stdlib
import sys
import traceback

from componentize_py_types import Err
from socketserver_handlers import (
    BaseRequestHandler,
    DatagramRequestHandler,
    StreamRequestHandler,
)
from socketserver_tls import Facts

try:
    # The name in a world with files, where it is not the only interface `types`.
    from wit_world.imports import socketserver_handler_types as types
except ImportError:
    from wit_world.imports import types
try:
    from socketserver_sendfile import use_sendfile
except ImportError:
    # The world has no interface `sendfile`.
    def use_sendfile(*_):
        raise _stdlib._GiveupOnSendfile


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


# The numbers of Linux, which the methods of `Socket` expect. Those of the module `socket` are
# WASI's in a handler.
MSG_PEEK, MSG_DONTWAIT, MSG_WAITALL, MSG_NOSIGNAL, MSG_MORE = 0x2, 0x40, 0x100, 0x4000, 0x8000
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_IPV6 = 1, 0, 6, 41
SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_BROADCAST, SO_SNDBUF, SO_RCVBUF = 2, 3, 4, 6, 7, 8
SO_KEEPALIVE, SO_LINGER, SO_REUSEPORT, SO_ACCEPTCONN, SO_PROTOCOL, SO_DOMAIN = 9, 13, 15, 30, 38, 39
IP_TOS, IP_TTL, IPV6_V6ONLY, IPV6_TCLASS = 1, 2, 26, 67
TCP_NODELAY, TCP_MAXSEG, TCP_CORK, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT = 1, 2, 3, 4, 5, 6
TCP_INFO, TCP_QUICKACK, TCP_USER_TIMEOUT = 11, 12, 18


class Socket(Facts):
    """The request socket with the methods and the exceptions of Python's `socket`.

    Flags and options are the numbers of Linux, which this module has as constants.
    """

    def __init__(self, socket, client):
        self._socket = socket
        self._client = client
        self._io_refs = 0
        self._closed = False

    # CPython's own functions. They call the methods below.
    __enter__ = _stdlib.socket.__enter__
    __exit__ = _stdlib.socket.__exit__
    close = _stdlib.socket.close
    makefile = _stdlib.socket.makefile
    _decref_socketios = _stdlib.socket._decref_socketios
    sendfile = _stdlib.socket.sendfile
    _sendfile_use_send = _stdlib.socket._sendfile_use_send

    @property
    def family(self):
        return _constant(_stdlib, _call(self._socket.family).name)

    @property
    def type(self):
        return _constant(_stdlib, _call(self._socket.socket_type).name)

    @property
    def proto(self):
        return _call(self._socket.proto)

    @property
    def timeout(self):
        return self.gettimeout()

    def recv(self, bufsize, flags=0):
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        if flags:
            return _call(self._socket.recv_with_flags, bufsize, flags)
        return _call(self._socket.recv, bufsize)

    def recv_into(self, buffer, nbytes=0, flags=0):
        with memoryview(buffer).cast("B") as view:
            if nbytes < 0:
                raise ValueError("negative buffersize in recv_into")
            if nbytes > len(view):
                raise ValueError("buffer too small for requested bytes")
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
            return len(data)

    def recvfrom(self, bufsize, flags=0):
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        data, address = _call(self._socket.recvfrom, bufsize, flags)
        return data, None if address is None else _from_contract(address)

    def recvfrom_into(self, buffer, nbytes=0, flags=0):
        with memoryview(buffer).cast("B") as view:
            data, address = self.recvfrom(nbytes or len(view), flags)
            view[: len(data)] = data
            return len(data), address

    def send(self, data, flags=0):
        if flags:
            return _call(self._socket.send_with_flags, bytes(data), flags)
        return _call(self._socket.send, bytes(data))

    def sendall(self, data, flags=0):
        if flags:
            _call(self._socket.sendall_with_flags, bytes(data), flags)
        else:
            _call(self._socket.sendall, bytes(data))

    def sendto(self, data, *flags_and_address):
        *flags, address = flags_and_address
        if address != _from_contract(self._client):
            raise PermissionError(errno.EACCES, "a handler may send to its own client only")
        if flags:
            return _call(self._socket.sendto_with_flags, bytes(data), *flags, self._client)
        return _call(self._socket.sendto, bytes(data), self._client)

    def _sendfile_use_sendfile(self, file, offset=0, count=None):
        return use_sendfile(self, self._socket, _call, file, offset, count)

    def _check_sendfile_params(self, file, offset, count):
        _stdlib.socket._check_sendfile_params(self, file, offset, count)
        # It tests a bit, which another type has here.
        if self.type != _stdlib.SOCK_STREAM:
            raise ValueError("only SOCK_STREAM type sockets are supported")

    def shutdown(self, how):
        _call(self._socket.shutdown, types.ShutdownHow(how))

    def _real_close(self):
        _call(self._socket.close)

    def getpeername(self):
        return _from_contract(_call(self._socket.getpeername))

    def getsockname(self):
        return _from_contract(_call(self._socket.getsockname))

    def settimeout(self, value):
        _call(self._socket.settimeout, None if value is None else float(value))

    def gettimeout(self):
        return _call(self._socket.gettimeout)

    def setblocking(self, flag):
        self.settimeout(None if flag else 0.0)

    def getblocking(self):
        return self.gettimeout() != 0

    def getsockopt(self, level, optname, buflen=0):
        if buflen:
            return _call(self._socket.getsockopt_bytes, level, optname, buflen)
        return _call(self._socket.getsockopt, level, optname)

    def setsockopt(self, level, optname, value):
        if isinstance(value, int):
            _call(self._socket.setsockopt, level, optname, value)
        else:
            _call(self._socket.setsockopt_bytes, level, optname, bytes(value))

    def fileno(self):
        return _call(self._socket.fileno)

    def _secured(self):
        return self._socket


def _constant(module, name):
    """Return the constant for a case of the contract, or its name if Python lacks it here."""
    name = name.upper().replace("-", "_")
    return getattr(module, name, name)


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
