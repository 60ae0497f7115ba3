"""Runs a program under CPython on a free port of 127.0.0.1, and prints where it listens. A server at
a path stays there.

Its own output goes to standard error, and it has the arguments that follow its name. Its
connections have TLS if the variable TLS is set: to the files of the server's certificate, of its
key, and of the issuers of clients.
"""

import os
import runpy
import socket
import socketserver
import sys
import threading

bind = socket.socket.bind
serve_forever = socketserver.BaseServer.serve_forever
out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
seen = set()


def bind_anywhere(self, address):
    bind(self, address if self.family == socket.AF_UNIX else ("127.0.0.1", 0))


def announce(server):
    if server not in seen:
        seen.add(server)
        address = server.socket.getsockname()
        is_stream = server.socket.type == socket.SOCK_STREAM
        if server.socket.family == socket.AF_UNIX:
            out.write("listening %s://%s\n" % ("unix" if is_stream else "unixgram", address))
        else:
            out.write("listening %s://%s:%s\n" % ("tcp" if is_stream else "udp", *address))


def serve_soon(self, poll_interval=0.5):
    announce(self)
    serve_forever(self, 0.02)


def never(self):
    threading.Event().wait()


def listen(self, *args):
    socketserver_activate(self)
    announce(self)


socket.socket.bind = bind_anywhere
socketserver.BaseServer.serve_forever = serve_soon
# The program in the documentation ends its server when it has served itself.
socketserver.BaseServer.shutdown = never
socketserver_activate = socketserver.TCPServer.server_activate
socketserver.TCPServer.server_activate = listen
if files := os.environ.get("TLS"):
    import ssl

    certificate, key, issuers = files.split(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(issuers)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["first/1"])
    get_request = socketserver.TCPServer.get_request

    def get_secured(self):
        connection, address = get_request(self)
        return context.wrap_socket(connection, server_side=True), address

    socketserver.TCPServer.get_request = get_secured
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
