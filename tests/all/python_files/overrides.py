"""A server with processes that overrides each method, and has a state and arguments."""

import argparse
import os
import socket
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    timeout = 5
    rbufsize = 0
    wbufsize = -1
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.steps = ["setup"]

    def handle(self):
        self.steps.append("handle")
        word = self.rfile.readline().decode().strip()
        server = self.server
        if word == "fail":
            raise LookupError("as asked")
        answers = {
            "state": lambda: f"{server.greeting} {server.numbers} {len(TABLE)}",
            "argv": lambda: sys.argv[1:],
            "hooks": lambda: server.hooks,
            "steps": lambda: self.steps,
            "nodelay": lambda: self.request.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0,
            "timeout": lambda: self.connection.gettimeout(),
            "names": lambda: [type(server).__name__, type(self).__name__, __name__],
            "family": lambda: [server.address_family.name, server.socket_type.name],
            "attributes": lambda: [server.request_queue_size, server.max_children],
        }
        self.wfile.write(f"{answers[word]()}\n".encode())

    def finish(self):
        self.steps.append("finish")
        self.wfile.write(b"finished\n")
        super().finish()


class Server(socketserver.ForkingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    request_queue_size = 7
    max_children = 9

    def __init__(self, *args, greeting, **kwargs):
        self.greeting = greeting
        self.numbers = [1, 2, 3]
        self.hooks = []
        super().__init__(*args, **kwargs)

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().server_bind()

    def get_request(self):
        self.hooks.append("get_request")
        return super().get_request()

    def verify_request(self, request, client_address):
        self.hooks.append("verify_request")
        first = request.recv(1, socket.MSG_PEEK)
        return first != b"!"

    def process_request(self, request, client_address):
        self.hooks.append("process_request")
        super().process_request(request, client_address)

    def finish_request(self, request, client_address):
        self.hooks.append("finish_request")
        super().finish_request(request, client_address)

    def shutdown_request(self, request):
        self.hooks.append("shutdown_request")
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        request.sendall(f"handle_error {sys.exception()!r}\n".encode())


TABLE = {number: number**2 for number in range(1000)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--greeting", default="hello")
    parser.add_argument("--port", type=int, default=9999)
    arguments = parser.parse_args()
    server = Server(("127.0.0.1", arguments.port), Handler, greeting=arguments.greeting)
    try:
        server.serve_forever(poll_interval=0.25)
    except KeyboardInterrupt:
        pass
    finally:
        server.numbers = None
        server.server_close()
