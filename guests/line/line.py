"""Sends one line back: the handler of CPython's own tests of socketserver."""

from socketserver_guest import StreamRequestHandler, stream_request


class Line(StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline()
        self.wfile.write(line)


StreamRequest = stream_request(Line)
