"""Requests that a build serves. CPython rewrites the code that runs often for the types that it
meets, and counts until it does: a request would begin with that each time."""

import itertools
import socketserver
import sys
import threading
import weakref

from wit_world.imports import socketserver_handler_types as types

from . import recording, request, sockets
from .phase import Phase

# CPython rewrites code at its second run, and tries again later what it cannot rewrite.
_TIMES = 40
_CLIENT = types.Address_Ipv4(types.Ipv4Address((127, 0, 0, 1), 9))
_ADDRESS = ("127.0.0.1", 9)


class _Handle:
    """A request socket of the host."""

    def __init__(self):
        self.data = [b"hello\n"]

    def fileno(self):
        return 3

    def recv(self, bufsize):
        return self.data.pop() if self.data else b""

    def send(self, data):
        return len(data)

    def sendall(self, data):
        pass

    def settimeout(self, value):
        pass

    def shutdown(self, how):
        pass

    def close(self):
        pass


class _Server:
    """The contract's calls on the server."""

    @staticmethod
    def server_address():
        return _CLIENT


class _Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.data = self.request.recv(1024).strip()
        self.request.sendall(self.data.upper())


class _StreamHandler(socketserver.StreamRequestHandler):
    def handle(self):
        self.data = self.rfile.readline().strip()
        self.wfile.write(self.data.upper())


def run(exported):
    """Serve requests, with an exported class, and leave no trace but in code."""
    host_server, request.host_server = request.host_server, _Server
    counter, threading._counter = threading._counter, itertools.count(1).__next__
    number, argv = sockets._next_number, sys.argv
    # It imports a module at its first use.
    weakref.finalize(_Handle(), sys.intern, "").detach()
    try:
        for server_class in (socketserver.TCPServer, socketserver.ThreadingTCPServer):
            for handler in (_Handler, _StreamHandler):
                Phase.building = True
                with server_class(_ADDRESS, handler) as server:
                    recording.servers["stream"] = recording.Recorded(server, 0.5)
                    for _ in range(_TIMES):
                        each = exported()
                        each.setup(_Handle(), _CLIENT)
                        each.handle()
                        each.finish()
    finally:
        Phase.building = True
        recording.servers.clear()
        exported.request = None
        request.host_server = host_server
        threading._counter = counter
        sockets._next_number = number
        sys.argv = argv
