"""The datagram handler of Python's documentation: sends the data back, upper-cased."""

from socketserver_guest import BaseRequestHandler, datagram_request


class MyUDPHandler(BaseRequestHandler):
    def handle(self):
        data = self.request[0].strip()
        socket = self.request[1]
        socket.sendto(data.upper(), self.client_address)


DatagramRequest = datagram_request(MyUDPHandler)
