"""Sends each datagram back in upper case."""

import socketserver


class MyUDPHandler(socketserver.BaseRequestHandler):
    def handle(self):
        data, socket = self.request
        socket.sendto(data.strip().upper(), self.client_address)


if __name__ == "__main__":
    with socketserver.UDPServer(("127.0.0.1", 9999), MyUDPHandler) as server:
        server.serve_forever()
