"""The report of a build: the servers of the file, their addresses and attributes."""

import socketserver

from . import paths
from .constants import *
from .names import family_of
from .recording import kind_of

_ATTRIBUTES = (
    "request_queue_size",
    "allow_reuse_address",
    "allow_reuse_port",
    "max_packet_size",
    "max_children",
    "daemon_threads",
    "block_on_close",
    "timeout",
)
# Options of the listening socket, and the options of `--bind` that set them.
_OPTIONS = {
    (SOL_SOCKET, SO_REUSEADDR): "reuseaddr",
    (SOL_SOCKET, SO_REUSEPORT): "reuseport",
    (SOL_SOCKET, SO_RCVBUF): "rcvbuf",
    (SOL_SOCKET, SO_SNDBUF): "sndbuf",
    (SOL_SOCKET, SO_KEEPALIVE): "keepalive",
    (SOL_TCP, TCP_NODELAY): "nodelay",
    (IPPROTO_IPV6, IPV6_V6ONLY): "v6only",
}


def server(recorded):
    """Return the facts about a recorded server."""
    server = recorded.server
    kind = kind_of(server)
    bind, ignored = _bind(server, kind)
    attributes = {}
    for name in _ATTRIBUTES:
        value = _named_by_the_file(server, name)
        if value is not None:
            attributes[name] = value
    if recorded.poll_interval != 0.5 and recorded.poll_interval is not None:
        attributes["poll_interval"] = recorded.poll_interval
    if server.socket._mode is not None:
        attributes["socket_mode"] = server.socket._mode
    handler = getattr(server, "RequestHandlerClass", None)
    return {
        "kind": kind,
        "class": type(server).__name__,
        "handler": getattr(handler, "__name__", str(handler)),
        "bind": bind,
        "concurrency": _concurrency(type(server)),
        "attributes": attributes,
        "ignored": ignored,
    }


def _named_by_the_file(server, name):
    """Return the value of an attribute unless it is a default of `socketserver`."""
    if name in vars(server):
        return vars(server)[name]
    for each in type(server).__mro__:
        if name in vars(each):
            return None if each.__module__ == "socketserver" else getattr(server, name)
    return None


def _concurrency(server_class):
    for each in server_class.__mro__:
        if each is socketserver.ForkingMixIn:
            return "forking"
        if each is socketserver.ThreadingMixIn:
            return "threading"
    own = server_class.process_request is not socketserver.BaseServer.process_request
    # A pool of threads, in most programs.
    return "threading" if own else "sync"


def _bind(server, kind):
    """Return the address as `--bind` has it, and the options of the socket that it has not."""
    address = server.socket.getsockname()
    if server.socket.family == AF_UNIX:
        scheme = "unix" if kind == "stream" else "unixgram"
        if isinstance(address, bytes):
            name = "@" + address[1:].decode("utf-8", "replace")
        else:
            # A path that begins so is no abstract name.
            name = "./" + address if address.startswith("@") else address
        url = f"{scheme}://{name.replace('%', '%25').replace('?', '%3F')}"
    else:
        scheme = "tcp" if kind == "stream" else "udp"
        host = f"[{address[0]}]" if family_of(address[0]) == AF_INET6 else address[0]
        url = f"{scheme}://{host}:{address[1]}"
    texts = []
    ignored = [text for socket, text in paths.ignored if socket is server.socket]
    # What the server's own attributes set, their own options of the command line set too.
    own = set()
    if getattr(server, "allow_reuse_address", False):
        own.add("reuseaddr")
    if getattr(server, "allow_reuse_port", False):
        own.add("reuseport")
    for option, value in server.socket._options.items():
        name = _OPTIONS.get(option)
        if name in own:
            continue
        if name is None or not isinstance(value, int) or server.socket.family == AF_UNIX:
            ignored.append(f"setsockopt({option[0]}, {option[1]}, {value!r})")
        elif name in ("rcvbuf", "sndbuf"):
            texts.append(f"{name}={max(value, 4096)}")
        else:
            texts.append(f"{name}={'true' if value else 'false'}")
    return url + ("?" + "&".join(texts) if texts else ""), ignored
