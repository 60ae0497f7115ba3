"""The MyTCPHandler of Python's documentation. Usage: cpython.py CLASS [REQUEST_QUEUE_SIZE]"""
import socketserver
import sys


class MyTCPHandler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(self.request.recv(1024).strip().upper())


server_class = getattr(socketserver, sys.argv[1])
if len(sys.argv) > 2:
    server_class.request_queue_size = int(sys.argv[2])
with server_class(("127.0.0.1", 0), MyTCPHandler) as server:
    print("listening tcp://%s:%d" % server.server_address, flush=True)
    server.serve_forever()
