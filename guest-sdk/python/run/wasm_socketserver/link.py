"""A socket of the host."""

from wit_world.imports import socketserver_handler_types as types

from .addresses import from_contract, to_contract
from .constants import *
from .errors import call

# The most bytes that one call passes to the host. The host may have to copy them.
_PIECE = 1 << 20
# The most bytes that are received to find out if there are any.
_AHEAD = 64 << 10
_HOW = {
    SHUT_RD: types.ShutdownHow.SHUT_RD,
    SHUT_WR: types.ShutdownHow.SHUT_WR,
    SHUT_RDWR: types.ShutdownHow.SHUT_RDWR,
}


class Link:
    """The request socket. The bytes that were received ahead come first."""

    def __init__(self, handle, client):
        self.handle = handle
        self.client = client
        self.number = handle.fileno()
        self.ahead = b""
        self.ended = False
        self.closed = False

    def recv(self, size):
        if self.ahead:
            data, self.ahead = self.ahead[:size], self.ahead[size:]
            return data
        if self.ended:
            return b""
        return call(self.handle.recv, min(size, 0xFFFFFFFF))

    def peek(self, size):
        if not self.ahead and not self.ended:
            self._receive_ahead()
        return self.ahead[:size]

    def is_readable(self, timeout):
        """Wait until there is data, or the end of it."""
        if self.ahead or self.ended or self.closed:
            return True
        before = self.handle.gettimeout()
        call(self.handle.settimeout, timeout)
        try:
            self._receive_ahead()
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:
            # The next call finds the error again.
            return True
        finally:
            call(self.handle.settimeout, before)
        return True

    def _receive_ahead(self):
        self.ahead = call(self.handle.recv, _AHEAD)
        self.ended = not self.ahead

    def send(self, data):
        return call(self.handle.send, bytes(data[:_PIECE]))

    def sendall(self, data):
        if len(data) <= _PIECE:
            call(self.handle.sendall, bytes(data))
            return
        for begin in range(0, len(data), _PIECE):
            call(self.handle.sendall, bytes(data[begin : begin + _PIECE]))

    def sendto(self, data, address):
        return call(self.handle.sendto, bytes(data), to_contract(address))

    def settimeout(self, timeout):
        call(self.handle.settimeout, timeout)

    def getsockopt(self, level, option):
        return call(self.handle.getsockopt, level, option)

    def setsockopt(self, level, option, value):
        call(self.handle.setsockopt, level, option, value)

    def shutdown(self, how):
        call(self.handle.shutdown, _HOW[how])

    def getsockname(self):
        return from_contract(call(self.handle.getsockname))

    def getpeername(self):
        return from_contract(call(self.handle.getpeername))

    def close(self):
        if not self.closed:
            self.closed = True
            self.handle.close()
