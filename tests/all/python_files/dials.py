"""Opens sockets in its handler, as any program does. The client says how, and where to."""

import asyncio
import errno
import http.client
import select
import socket
import socketserver
import urllib.request

# A socket that the program makes when it starts, and that handlers use.
SHARED = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        name, host, port = self.rfile.readline().decode().split()
        try:
            answer = getattr(self, name)(host, int(port))
        except OSError as error:
            answer = f"{type(error).__name__} {errno.errorcode.get(error.errno)}"
        if answer is not None:
            self.wfile.write(answer if isinstance(answer, bytes) else str(answer).encode())

    def talk(self, host, port):
        with socket.create_connection((host, port), 20) as peer:
            peer.sendall(b"hello")
            peer.shutdown(socket.SHUT_WR)
            return peer.makefile("rb").read()

    def flags(self, host, port):
        with socket.create_connection((host, port), 20) as peer:
            same = peer.getpeername() == (host, port)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.sendall(b"hello")
            peer.shutdown(socket.SHUT_WR)
            peeked = peer.recv(3, socket.MSG_PEEK)
            data = peer.makefile("rb").read()
            nodelay = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            return f"{peeked} {data} {peer.recv(10)} {same} {nodelay} {peer.gettimeout()}"

    def http(self, host, port):
        connection = http.client.HTTPConnection(host, port, timeout=20)
        connection.request("GET", "/hello")
        return connection.getresponse().read()

    def url(self, host, port):
        return urllib.request.urlopen(f"http://{host}:{port}/hello").read()

    def datagram(self, host, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(20)
            datagrams.sendto(b"hello", (host, port))
            data, address = datagrams.recvfrom(100)
            return f"{data} {address == (host, port)}"

    def shared(self, host, port):
        SHARED.sendto(b"hello", (host, port))
        return SHARED.recv(100)

    def forward(self, host, port):
        """Forwards the connection in both directions at once."""
        self.wfile.write(b"ready 0\n")
        with socket.create_connection((host, port), 20) as peer:
            ends = {self.connection: peer, peer: self.connection}
            while ends:
                for source in select.select(list(ends), [], [], 20)[0]:
                    data = source.recv(1000)
                    target = ends[source]
                    if data:
                        target.sendall(data)
                    else:
                        target.shutdown(socket.SHUT_WR)
                        del ends[source]

    def later(self, host, port):
        """Connects without waiting, and learns the result with select."""
        with socket.socket() as peer:
            peer.setblocking(False)
            number = peer.connect_ex((host, port))
            started = number in (0, errno.EINPROGRESS)
            _, writable, _ = select.select([], [peer], [], 20)
            error = peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return f"{started} {writable == [peer]} {error == 0}"

    def refused(self, host, port):
        with socket.socket() as peer:
            return errno.errorcode[peer.connect_ex((host, port))]

    def timed(self, host, port):
        with socket.create_connection((host, port)) as peer:
            peer.settimeout(0.05)
            return peer.recv(1)

    def listen(self, host, port):
        with socket.create_server((host, port)) as listener:
            self.wfile.write(b"ready %d\n" % listener.getsockname()[1])
            connection, _ = listener.accept()
            with connection:
                connection.sendall(connection.recv(100).upper())

    def pair(self, host, port):
        one, other = socket.socketpair()
        with one, other:
            one.sendall(b"to itself")
            return other.recv(100)

    def loop(self, host, port):
        async def talk():
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"hello")
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer

        return asyncio.run(talk())

    def names(self, host, port):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return " ".join(sorted({address[0] for *_, address in found if ":" not in address[0]}))


if __name__ == "__main__":
    with socketserver.ThreadingTCPServer(("127.0.0.1", 9999), Handler) as server:
        server.serve_forever()
