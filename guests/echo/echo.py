"""Sends all data back until the client has finished sending."""

from socketserver_guest import BaseRequestHandler, stream_request


class Echo(BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


StreamRequest = stream_request(Echo)
