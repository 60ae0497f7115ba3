"""Waits with select() before each byte, also for bytes that came together."""
import select
import socketserver


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        while True:
            readable, writable, _ = select.select([self.request], [], [], 30)
            byte = self.request.recv(1)
            if not byte:
                break
            _, writable, _ = select.select([], [self.request], [], 30)
            self.request.sendall(b"%d%d%s " % (len(readable), len(writable), byte))


if __name__ == "__main__":
    with socketserver.ThreadingTCPServer(("127.0.0.1", 9999), Handler) as server:
        server.serve_forever()
