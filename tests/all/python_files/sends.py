"""Sends files, as any program does. The client says how, and which one."""

import errno
import io
import os
import pathlib
import socket
import socketserver


class Unread(io.FileIO):
    """A file that nothing reads."""

    def read(self, size=-1):
        raise OSError(errno.EIO, "it is read")

    readinto = readall = read


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        name, path = self.rfile.readline().decode().split()
        try:
            answer = getattr(self, name)(path)
        except (OSError, ValueError) as error:
            answer = f"{type(error).__name__} {errno.errorcode.get(getattr(error, 'errno', None))}"
        self.wfile.write(f" {answer}".encode())

    def send(self, file, *arguments):
        with file:
            return f"{self.connection.sendfile(file, *arguments)} {file.tell()}"

    # What the kernel sends.

    def whole(self, path):
        return self.send(Unread(path))

    def part(self, path):
        return self.send(Unread(path), 3, 4)

    def end(self, path):
        return self.send(Unread(path), 8, 100)

    def beyond(self, path):
        return self.send(Unread(path), 99)

    def relative(self, path):
        folder, name = os.path.split(path)
        os.chdir(folder)
        return self.send(Unread(name))

    def dotted(self, path):
        folder, name = os.path.split(path)
        os.makedirs(f"{folder}/below", exist_ok=True)
        return self.send(Unread(f"{folder}/./below/..//{name}"))

    def typed(self, path):
        return self.send(Unread(pathlib.Path(path)))

    def encoded(self, path):
        return self.send(Unread(os.fsencode(path)))

    def empty(self, path):
        with open(f"{path}.empty", "wb"):
            return self.send(Unread(f"{path}.empty"))

    def twice(self, path):
        with Unread(path) as file:
            return f"{self.connection.sendfile(file)} {self.connection.sendfile(file, file.tell() - 1)}"

    # What has to be read in a component.

    def moved(self, path):
        """The name is that of another file when the file is sent."""
        with open(f"{path}.moved", "w+b") as file:
            file.write(b"the first")
            file.flush()
            os.rename(f"{path}.moved", f"{path}.away")
            pathlib.Path(f"{path}.moved").write_bytes(b"the other")
            return self.send(file)

    def removed(self, path):
        with open(f"{path}.removed", "w+b") as file:
            file.write(b"still here")
            file.flush()
            os.remove(f"{path}.removed")
            return self.send(file)

    def numbered(self, path):
        return self.send(open(os.open(path, os.O_RDONLY), "rb"))

    def renamed(self, path):
        """An object with the number of one file and the name of another one."""
        with open(f"{path}.other", "w+b") as other, open(path, "rb") as file:
            other.write(b"another one")
            other.flush()
            file.raw.name = f"{path}.other"
            return self.send(file)

    def memory(self, path):
        return self.send(io.BytesIO(b"in memory"), 3)

    # Errors.

    def text(self, path):
        return self.send(open(path))

    def write_only(self, path):
        return self.send(open(path, "ab"))

    def nothing(self, path):
        return self.send(Unread(path), 0, 0)

    def more_than_there_is(self, path):
        return self.send(open(path, "rb"), 0, 1 << 40)

    def before(self, path):
        return self.send(open(path, "rb"), -1)

    def closed(self, path):
        with open(path, "rb") as file:
            pass
        return self.connection.sendfile(file)

    def unblocked(self, path):
        self.connection.settimeout(0)
        try:
            return self.send(Unread(path))
        finally:
            self.connection.settimeout(None)

    # On a socket that the handler has opened.

    def pair(self, path):
        one, other = socket.socketpair()
        with one, other, Unread(path) as file:
            return f"{one.sendfile(file, 2, 3)} {other.recv(10)} {file.tell()}"

    def slow(self, path):
        """Nothing receives what is sent."""
        with open(f"{path}.large", "wb") as file:
            file.truncate(1 << 26)
        one, other = socket.socketpair()
        one.settimeout(0.05)
        with one, other, Unread(f"{path}.large") as file:
            try:
                return one.sendfile(file)
            except TimeoutError as error:
                return f"{error} {0 < file.tell() < 1 << 26}"

    def datagrams(self, path):
        one, other = socket.socketpair(type=socket.SOCK_DGRAM)
        with one, other, Unread(path) as file:
            return one.sendfile(file)


if __name__ == "__main__":
    with socketserver.ThreadingTCPServer(("127.0.0.1", 9999), Handler) as server:
        server.serve_forever()
