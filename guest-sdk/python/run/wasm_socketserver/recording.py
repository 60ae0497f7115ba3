"""The servers that the file makes. They are recorded, and do not listen."""

import socketserver

from . import paths
from .constants import SOCK_DGRAM
from .phase import Ended, Failed, Phase, Stopped
from .streams import level
from .waiting import Parked, State

_TWO_SERVERS = (
    "it makes two servers for {}: {} and {}. A component has one for connections and one for "
    "datagrams. Make a file for each"
)
_SHUTDOWN = (
    "a handler cannot stop the server: it has a copy of the program of its own. Stop the server "
    "with SIGTERM"
)
# The number of times that a program may go on after `serve_forever`.
_MOST_STOPS = 100


class Recorded:
    """A server, and its attributes when it began to serve."""

    def __init__(self, server, poll_interval):
        self.server = server
        self.poll_interval = poll_interval
        self.attributes = dict(vars(server))

    def restore(self):
        """Undo what the program did to the server when `serve_forever` had ended."""
        vars(self.server).clear()
        vars(self.server).update(self.attributes)
        self.server.socket._closed = False


# The servers by their kinds: `stream` and `datagram`.
servers = {}
# The errors of requests that reached `BaseServer.handle_error`.
errors = []
_stops = 0


def kind_of(server):
    return "datagram" if server.socket.type == SOCK_DGRAM else "stream"


def _record(server, poll_interval):
    global _stops
    kind = kind_of(server)
    before = servers.setdefault(kind, Recorded(server, poll_interval)).server
    if before is not server:
        what = "connections" if kind == "stream" else "datagrams"
        names = [type(each).__name__ for each in (before, server)]
        raise Failed(_TWO_SERVERS.format(what, *names))
    server.socket._keeps_open = True
    Phase.serving = True
    if State.running:
        # The thread serves while the program goes on.
        raise Parked
    _stops += 1
    if _stops > _MOST_STOPS:
        # The program serves in a loop that catches every exception.
        raise Ended
    raise Stopped


def _serve_forever(self, poll_interval=0.5):
    if not Phase.building:
        raise RuntimeError("a handler cannot start a server: only the program can")
    _record(self, poll_interval)


def _handle_request(self):
    _serve_forever(self)


def _shutdown(self):
    if not Phase.building:
        raise RuntimeError(_SHUTDOWN)
    if State.parked and not State.running:
        # The program ends the server that its thread serves.
        raise Stopped


_handle_error = socketserver.BaseServer.handle_error


def _report_error(self, request, client_address):
    import sys

    errors.append(sys.exception())
    with level("error"):
        _handle_error(self, request, client_address)


def install():
    paths.install()
    base = socketserver.BaseServer
    # The names of threads contain the names of their functions.
    _serve_forever.__name__ = "serve_forever"
    base.serve_forever = _serve_forever
    base.handle_request = _handle_request
    base.shutdown = _shutdown
    base.handle_error = _report_error
