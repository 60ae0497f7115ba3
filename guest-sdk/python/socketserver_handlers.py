"""The classes of request handlers, with the code of CPython's module `socketserver`."""

import contextlib
import io

# The numbers of Linux.
_IPPROTO_TCP, _TCP_NODELAY = 6, 1


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


class StreamRequestHandler(BaseRequestHandler):
    """Python's `socketserver.StreamRequestHandler`.

    The attribute `rfile` reads the connection, and `wfile` writes to it, as in CPython.
    """

    rbufsize, wbufsize = -1, 0
    timeout = None
    disable_nagle_algorithm = False

    def setup(self):
        self.connection = self.request
        if self.timeout is not None:
            self.connection.settimeout(self.timeout)
        if self.disable_nagle_algorithm:
            self.connection.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, True)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        if self.wbufsize == 0:
            self.wfile = _SocketWriter(self.connection)
        else:
            self.wfile = self.connection.makefile("wb", self.wbufsize)

    def finish(self):
        if not self.wfile.closed:
            with contextlib.suppress(OSError):
                self.wfile.flush()
        self.wfile.close()
        self.rfile.close()


class _SocketWriter(io.BufferedIOBase):
    """CPython's class of this name."""

    def __init__(self, socket):
        self._socket = socket

    def writable(self):
        return True

    def write(self, data):
        self._socket.sendall(data)
        return memoryview(data).nbytes

    def fileno(self):
        return self._socket.fileno()


class DatagramRequestHandler(BaseRequestHandler):
    """Python's `socketserver.DatagramRequestHandler`.

    The attribute `rfile` reads the datagram, and `finish` sends what was written to `wfile` as one
    datagram, which is empty if nothing was written.
    """

    def setup(self):
        self.packet, self.socket = self.request
        self.rfile = io.BytesIO(self.packet)
        self.wfile = io.BytesIO()

    def finish(self):
        self.socket.sendto(self.wfile.getvalue(), self.client_address)
