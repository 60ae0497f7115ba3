"""Reads and writes its connection as files, in the case that the client names in the first line.
CPython's reference server runs the same code."""

try:
    from socketserver_guest import StreamRequestHandler, stream_request
except ImportError:
    from socketserver import StreamRequestHandler

    stream_request = None


class Files(StreamRequestHandler):
    wbufsize = -1
    timeout = 0.5
    disable_nagle_algorithm = True

    def handle(self):
        case = self.rfile.readline(20).decode().strip()
        getattr(self, case)()

    def limit(self):
        while piece := self.rfile.readline(5):
            self.wfile.write(b"[%b]" % piece)

    def read(self):
        self.wfile.write(b"[%b]" % self.rfile.read(7))
        self.wfile.write(b"[%b]" % self.rfile.read())

    def large(self):
        for letter in b"abcdefghij":
            assert self.wfile.write(bytes([letter]) * 3000) == 3000
        self.wfile.write(b"k" * 20000)

    def hold(self):
        self.wfile.write(b"first\n")
        self.rfile.readline()
        self.wfile.write(b"second\n")

    def flush(self):
        self.wfile.write(b"first\n")
        self.wfile.flush()
        self.rfile.readline()
        self.wfile.write(b"second\n")

    def options(self):
        nodelay = self.connection.getsockopt(6, 1)
        self.wfile.write(f"{nodelay} {self.connection.gettimeout()}\n".encode())

    def error(self):
        self.wfile.write(b"before\n")
        raise ValueError("on purpose")

    def silence(self):
        for _ in range(2):
            try:
                self.rfile.readline()
            except OSError as error:
                self.wfile.write(f"{error.args[-1]}\n".encode())

    def close(self):
        self.wfile.write(b"bye\n")
        self.wfile.close()
        self.rfile.readline()

    def closed(self):
        self.wfile.close()
        self.wfile.write(b"x")

    def late(self):
        self.wfile.write(b"ready\n")
        self.wfile.flush()
        try:
            self.rfile.readline()
        except OSError:
            self.wfile.write(b"late\n")


if stream_request:
    StreamRequest = stream_request(Files)
