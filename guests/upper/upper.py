"""The handler of Python's documentation: sends the data back, upper-cased."""

from socketserver_guest import BaseRequestHandler, stream_request


class MyTCPHandler(BaseRequestHandler):
    def handle(self):
        data = self.request.recv(1024).strip()
        self.request.sendall(data.upper())


StreamRequest = stream_request(MyTCPHandler)
