"""Tells its client what the connection's TLS is, in the words of `ssl.SSLSocket`."""
import socketserver


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        request = self.request
        certificate = request.getpeercert(binary_form=True)
        facts = request.version(), request.cipher(), request.selected_alpn_protocol()
        self.wfile.write(f"{facts} {certificate}\n".encode())
        for _ in self.rfile:
            try:
                answer = str(request.getpeercert())
            except NotImplementedError as error:
                answer = str(error)
            self.wfile.write(f"{answer}\n".encode())


if __name__ == "__main__":
    with socketserver.ThreadingTCPServer(("127.0.0.1", 9999), Handler) as server:
        server.serve_forever()
