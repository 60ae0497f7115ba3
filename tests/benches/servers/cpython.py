"""The MyTCPHandler and MyUDPHandler of Python's documentation.

Usage: cpython.py CLASS [REQUEST_QUEUE_SIZE [PATH]]
"""
import socketserver
import sys


class MyTCPHandler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(self.request.recv(1024).strip().upper())


class MyUDPHandler(socketserver.BaseRequestHandler):
    def handle(self):
        data, socket = self.request
        socket.sendto(data.strip().upper(), self.client_address)


name = sys.argv[1]
server_class = getattr(socketserver, name)
if len(sys.argv) > 2:
    server_class.request_queue_size = int(sys.argv[2])
datagrams = "UDP" in name or "Datagram" in name
scheme = {(False, False): "tcp", (True, False): "udp", (False, True): "unix", (True, True): "unixgram"}[datagrams, "Unix" in name]
address = sys.argv[3] if "Unix" in name else ("127.0.0.1", 0)
with server_class(address, MyUDPHandler if datagrams else MyTCPHandler) as server:
    bound = server.server_address
    print(f"listening {scheme}://" + (bound if isinstance(bound, str) else "%s:%d" % bound), flush=True)
    server.serve_forever()
