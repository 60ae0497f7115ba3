"""CPython's ThreadingTCPServer with TLS. The handshake is in the thread of its request.

Usage: cpython.py CERTIFICATE KEY upper|source
"""
import socketserver
import ssl
import sys

certificate, key, sample = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        if sample == "upper":
            self.request.sendall(self.request.recv(1024).strip().upper())
        else:
            left, data = int(self.request.recv(100)), b"x" * (1 << 20)
            while left:
                left -= self.request.send(data[:left])
        self.request.unwrap()


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 4096

    def get_request(self):
        request, address = super().get_request()
        return context.wrap_socket(request, server_side=True, do_handshake_on_connect=False), address


with Server(("127.0.0.1", 0), Handler) as server:
    print("listening tcp://%s:%d" % server.server_address, flush=True)
    server.serve_forever()
