"""A request: the recorded server handles it, as the loop of `serve_forever` does."""

import sys

from componentize_py_types import Err
from wit_world.imports import server as host_server

from . import processes, recording, shared, streams
from .addresses import from_contract
from .link import Link
from .phase import Ended, Phase
from .waiting import State

_NOT_SERVED = (
    "process_request() left the request to a thread that the program started before: a request "
    "has a copy of the program, without its other threads. Use socketserver.ThreadingMixIn"
)
_WRONG_KIND = "the program has no server for {}: it made one for {}"


class Program:
    argv = []


def run(kind, handle, client_address, data=None):
    """Serve a request, and return the error for the log of the host."""
    Phase.building = False
    sys.argv = Program.argv
    recorded = recording.servers.get(kind)
    if recorded is None:
        kinds = {"stream": "connections", "datagram": "datagrams"}
        other = next(kinds[each] for each in kinds if each != kind)
        raise Err(_WRONG_KIND.format(kinds[kind], other))
    server = recorded.server
    address = from_contract(client_address)
    link = Link(handle, address)
    if kind == "stream":
        server.socket._offer((link, address))
    else:
        server.socket._offer((data, address), link)
    _set_address(server, from_contract(host_server.server_address()))
    try:
        _serve(server, link, kind)
    finally:
        streams.flush()


def _set_address(server, address):
    """Set the address at which the host listens. The options may have changed it."""
    if server.server_address == address:
        return
    server.server_address = address
    if hasattr(server, "server_port") and isinstance(address, tuple):
        # Of http.server and wsgiref.
        server.server_port = address[1]
        if "SERVER_PORT" in getattr(server, "base_environ", ()):
            server.base_environ["SERVER_PORT"] = str(address[1])


def _serve(server, link, kind):
    try:
        server._handle_request_noblock()
        if kind == "stream" and not link.closed and State.parked and not processes.State.forked:
            raise Err(_NOT_SERVED)
        server.service_actions()
    except (Ended, SystemExit, KeyboardInterrupt):
        pass
    except Err:
        raise
    except Exception as error:
        # An override that is not guarded by socketserver, such as verify_request.
        with streams.level("error"):
            sys.excepthook(type(error), error, error.__traceback__)
        raise Err(_text(error)) from None
    if not processes.State.forked:
        # What a forked process changes, its parent does not see in CPython either.
        shared.warn()
    if recording.errors:
        raise Err(_text(recording.errors[0]))


def _text(error):
    if error is None:
        return "the request failed"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
