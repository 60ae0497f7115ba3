import socketserver

# Not in the notes: the server that the sample `chat-line` is, with `rfile` and `wfile`.
class Handler(socketserver.StreamRequestHandler):
    wbufsize = -1

    def handle(self):
        count = 0
        while line := self.rfile.readline(4096):
            if not line.endswith(b"\n") and len(line) == 4096:
                self.wfile.write(b"that line is too long\n")
                return
            said = line.removesuffix(b"\n")
            if said == b"bye":
                self.wfile.write(f"bye, after {count} lines\n".encode())
                return
            count += 1
            self.wfile.write(b"%d: %s\n" % (count, said))
            self.wfile.flush()

socketserver.TCPServer(("localhost", 9999), Handler).serve_forever()
