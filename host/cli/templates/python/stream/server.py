"""Receives up to 1024 bytes, and sends them back in upper case."""

import socketserver


class MyTCPHandler(socketserver.BaseRequestHandler):
    def handle(self):
        data = self.request.recv(1024).strip()
        self.request.sendall(data.upper())


if __name__ == "__main__":
    with socketserver.TCPServer(("127.0.0.1", 9999), MyTCPHandler) as server:
        server.serve_forever()
