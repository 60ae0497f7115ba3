"""The module `_socket`: the sockets of the host, and sockets that only record what is set."""

import errno
import os

from . import network as _network
from . import paths as _paths
from .constants import *
from .errors import denied, unsupported
from .names import *
from .names import numeric
from .network import getaddrinfo, gethostbyname, gethostbyname_ex
from .phase import Failed, Phase, Stopped
from .tls import Facts as _Facts

error = OSError
timeout = TimeoutError
has_ipv6 = True
SocketType = None  # Set below.

_default_timeout = None
# The sockets by their numbers, for `select` and for the constructor of an accepted socket.
by_number = {}
# The numbers of sockets that the guest itself makes. Those of the host's sockets are small.
_next_number = 1000

_OWN_LOOP = """\
the program accepts connections itself, in accept(). The host accepts them, and makes a copy of
the program for each. Move what follows accept() into the handle() of a class, and give that
class to a server of socketserver:

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            ...  # self.request is the connection, self.client_address its client

    if __name__ == "__main__":
        with socketserver.ThreadingTCPServer((HOST, PORT), Handler) as server:
            server.serve_forever()"""
_OWN_DATAGRAMS = """\
the program receives datagrams itself, in recvfrom(). The host receives them, and makes a copy of
the program for each. Move what follows recvfrom() into the handle() of a class, and give that
class to a server of socketserver:

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            data, socket = self.request

    if __name__ == "__main__":
        with socketserver.UDPServer((HOST, PORT), Handler) as server:
            server.serve_forever()"""
_CONNECT = (
    "a build opens no connections: connect in the handler, where the operator grants it (--connect)"
)
_OTHER_CLIENTS = "a handler sees the client of its request only, and no other"


class socket(_Facts):
    # Without a slot for weak references: the subclass in `socket.py` has it.
    __slots__ = (
        "_link", "_pending", "_bound", "_backlog", "_options", "_keeps_open", "_timeout",
        "_number", "_family", "_type", "_proto", "_opened", "_mode",
    )

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        global _next_number
        self._link = None
        self._opened = False
        self._pending = None
        self._bound = None
        self._backlog = None
        self._options = {}
        self._keeps_open = False
        # The permissions of its file.
        self._mode = None
        self._timeout = _default_timeout
        if fileno is not None:
            accepted = by_number.get(int(fileno))
            if accepted is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._number = int(fileno)
            self._link = getattr(accepted, "_link", accepted)
            self._opened = isinstance(self._link, _network.Opened)
        else:
            self._number = _next_number
            _next_number += 1
        self._family = AF_INET if family in (-1, None) else int(family)
        self._type = SOCK_STREAM if type in (-1, None) else int(type)
        self._type &= ~(SOCK_NONBLOCK | SOCK_CLOEXEC)
        self._proto = 0 if proto in (-1, None) else int(proto)
        if self._family not in (AF_INET, AF_INET6, AF_UNIX):
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        if self._type not in _network.TYPES:
            raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))
        if fileno is None and not Phase.building:
            self._open()
        by_number[self._number] = self

    family = property(lambda self: self._family)
    type = property(lambda self: self._type)
    proto = property(lambda self: self._proto)
    timeout = property(lambda self: self._timeout)

    def __repr__(self):
        return f"<socket object, fd={self._number}, family={self._family}, type={self._type}>"

    def _connected(self):
        if self._number < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self._link is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._link

    def _open(self):
        """Open the socket at the host. One that the build has made opens when it is used."""
        if self._link is None and self._number >= 0:
            self._link = _network.open_socket(self._family, self._type, self._proto)
            self._opened = True
            for (level, option), value in self._options.items():
                self._link.setsockopt(level, option, value)
            if self._timeout is not None:
                self._link.settimeout(self._timeout)
        return self._connected()

    # Listening.

    def bind(self, address):
        self._set_bound(address)
        if not Phase.building and not self._keeps_open:
            self._open().bind(self._bound)

    def _set_bound(self, address):
        if self._family == AF_UNIX:
            self._bound = _paths.name_of(address)
            _paths.note(self)
            return
        if not isinstance(address, tuple) or len(address) < 2:
            raise TypeError(f"AF_INET address must be tuple, not {type(address).__name__}")
        host, port = address[:2]
        if not isinstance(port, int):
            raise TypeError("'str' object cannot be interpreted as an integer")
        if not 0 <= port <= 65535:
            raise OverflowError("bind(): port must be 0-65535.")
        host = numeric(host, self._family)
        rest = ((*address[2:], 0, 0)[:2]) if self._family == AF_INET6 else ()
        self._bound = (host, port, *rest)

    def listen(self, backlog=SOMAXCONN):
        self._backlog = backlog
        if not Phase.building and not self._keeps_open:
            self._open().listen(backlog)

    def _accept(self):
        if self._opened:
            link, address = self._connected().accept()
            by_number[link.number] = link
            return link.number, address
        if self._pending is None:
            self._refuse_own_loop(_OWN_LOOP)
        (link, address), self._pending = self._pending, None
        by_number[link.number] = link
        return link.number, address

    def _refuse_own_loop(self, text):
        if not Phase.building:
            raise denied(_OTHER_CLIENTS)
        if Phase.serving:
            raise Stopped
        raise Failed(text)

    def connect(self, address):
        if Phase.building and Phase.serving:
            # A program that is its own client, as in Python's documentation.
            raise Stopped
        if Phase.building:
            raise denied(_CONNECT)
        link = self._open()
        if not self._opened:
            raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
        link.connect(_network.resolved(address, self._family, self._type))

    def connect_ex(self, address):
        try:
            self.connect(address)
        except OSError as error:
            return error.errno
        return 0

    # Receiving.

    def recv(self, bufsize, flags=0):
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        link = self._connected()
        if not flags:
            return link.recv(bufsize)
        if flags & ~(MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        if flags & MSG_DONTWAIT and not link.is_readable(0.0):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if flags & MSG_PEEK:
            return link.peek(bufsize)
        data = link.recv(bufsize)
        while flags & MSG_WAITALL and data and len(data) < bufsize:
            more = link.recv(bufsize - len(data))
            if not more:
                break
            data += more
        return data

    def recv_into(self, buffer, nbytes=0, flags=0):
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def recvfrom(self, bufsize, flags=0):
        if self._type == SOCK_STREAM:
            return self.recv(bufsize, flags), None
        if self._opened:
            return self._connected().recvfrom(bufsize, flags)
        if self._pending is None:
            self._refuse_own_loop(_OWN_DATAGRAMS)
        (data, address), self._pending = self._pending, None
        return data[:bufsize], address

    def recvfrom_into(self, buffer, nbytes=0, flags=0):
        view = memoryview(buffer).cast("B")
        data, address = self.recvfrom(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data), address

    def recvmsg(self, bufsize, ancbufsize=0, flags=0):
        data, address = self.recvfrom(bufsize, flags)
        return data, [], 0, address

    # Sending.

    def send(self, data, flags=0):
        return self._connected().send(memoryview(data).cast("B"))

    def sendall(self, data, flags=0):
        self._connected().sendall(memoryview(data).cast("B"))

    def sendto(self, data, *rest):
        data = memoryview(data).cast("B")
        if len(rest) not in (1, 2):
            raise TypeError(f"sendto() takes 2 or 3 arguments ({1 + len(rest)} given)")
        if self._link is None and Phase.building:
            raise denied(_CONNECT)
        return self._open().sendto(data, _network.resolved(rest[-1], self._family, self._type))

    def sendmsg(self, buffers, ancdata=(), flags=0, address=None):
        if list(ancdata):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        data = b"".join(buffers)
        return self.send(data) if address is None else self.sendto(data, address)

    # Options.

    def settimeout(self, value):
        if value is not None:
            value = float(value)
            if not value >= 0:
                raise ValueError("Timeout value out of range")
        self._timeout = value
        if self._link is not None:
            self._link.settimeout(value)

    def gettimeout(self):
        return self._timeout

    def setblocking(self, flag):
        self.settimeout(None if flag else 0.0)

    def getblocking(self):
        return self._timeout != 0.0

    def setsockopt(self, level, option, value, optlen=None):
        if value is not None and not isinstance(value, int):
            value = bytes(value)
            if len(value) == 4:
                value = int.from_bytes(value, "little", signed=True)
        if self._link is None:
            self._options[int(level), int(option)] = value
        elif isinstance(value, int):
            self._link.setsockopt(level, option, int(value))
        else:
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))

    def getsockopt(self, level, option, buflen=0):
        if (level, option) == (SOL_SOCKET, SO_TYPE):
            value = self._type
        elif self._link is not None:
            value = self._link.getsockopt(level, option)
        else:
            value = self._options.get((level, option), 0)
        return value.to_bytes(4, "little", signed=True)[:buflen] if buflen else value

    # Names, and the end.

    def getsockname(self):
        if self._number < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self._link is not None:
            return self._link.getsockname()
        if self._bound is not None:
            return self._bound
        return "" if self._family == AF_UNIX else ("0.0.0.0", 0)

    def getpeername(self):
        if not self._opened and (self._backlog is not None or self._type == SOCK_DGRAM):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._connected().getpeername()

    def fileno(self):
        return self._number

    def _secured(self):
        return None if self._link is None or self._number < 0 else self._link.handle

    def shutdown(self, how):
        if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if self._keeps_open:
            return
        self._connected().shutdown(how)

    def close(self):
        # The servers that a build records must still serve requests.
        if self._keeps_open or self._number < 0:
            return
        by_number.pop(self._number, None)
        self._number = -1
        if self._link is not None:
            self._link.close()

    def detach(self):
        number, self._number = self._number, -1
        return number

    # What a request hands to a listening socket.

    def _offer(self, pending, link=None):
        """Set what the next `accept` or `recvfrom` returns."""
        self._pending = pending
        self._link = link


SocketType = socket


def close(number):
    found = by_number.pop(number, None)
    if found is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    found.close()


def dup(number):
    raise unsupported("a socket cannot be duplicated in the sandbox")


def socketpair(family=AF_UNIX, type=SOCK_STREAM, proto=0):
    if Phase.building:
        raise unsupported("a build has no pairs of sockets, and so no loops of asyncio")
    pair = _network.open_pair(type)
    for link in pair:
        by_number[link.number] = link
    return tuple(socket(family, type, proto, link.number) for link in pair)


def if_nameindex():
    return []


def getdefaulttimeout():
    return _default_timeout


def setdefaulttimeout(value):
    global _default_timeout
    _default_timeout = None if value is None else float(value)


def sethostname(name):
    raise denied("a handler cannot change the name of the machine")
