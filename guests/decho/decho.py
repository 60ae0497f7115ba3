"""Sends each datagram back; reads and writes it as files."""

from socketserver_guest import DatagramRequestHandler, datagram_request


class Echo(DatagramRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read())


DatagramRequest = datagram_request(Echo)
