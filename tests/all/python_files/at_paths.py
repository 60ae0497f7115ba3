"""Servers at paths: one for connections and one for datagrams, with permissions."""

import os
import socketserver
import threading

STREAM, DATAGRAM = "stream.sock", "datagram.sock"


def facts(handler):
    server = handler.server
    return repr((handler.client_address, server.server_address, type(server).__name__))


class Stream(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())
        self.wfile.write(facts(self).encode())


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, socket = self.request
        text = repr(data) + facts(self)
        socket.sendto(text.encode(), self.client_address)


def remove(path):
    if os.path.exists(path):
        os.unlink(path)


if __name__ == "__main__":
    os.umask(0o027)
    for path in (STREAM, DATAGRAM):
        remove(path)
    with (
        socketserver.ThreadingUnixStreamServer(STREAM, Stream) as stream,
        socketserver.ThreadingUnixDatagramServer(DATAGRAM, Datagram) as datagrams,
    ):
        os.chmod(STREAM, 0o750)
        assert stream.server_address == STREAM, stream.server_address
        threading.Thread(target=datagrams.serve_forever, daemon=True).start()
        try:
            stream.serve_forever()
        finally:
            remove(STREAM)
