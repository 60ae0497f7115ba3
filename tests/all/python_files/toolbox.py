"""Answers a command with what Python's library says. Some of it cannot be in a sandbox."""

import errno
import os
import queue
import select
import selectors
import socket
import socketserver
import sqlite3
import subprocess
import threading
import time

counter = 0
seen = []
database = sqlite3.connect(":memory:", check_same_thread=False)
database.execute("create table word(name text)")
database.executemany("insert into word values (?)", [("ab",), ("cd",)])


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        command, _, rest = self.request.recv(100).decode().partition("\n")
        self.rest = rest.encode()
        try:
            answer = getattr(self, command)()
        except Exception as error:
            if command.startswith("raise"):
                raise
            number = errno.errorcode.get(getattr(error, "errno", None))
            answer = f"{type(error).__name__} {number} {error}"
        if answer is not None:
            self.request.sendall(str(answer).encode())

    # What works as in CPython.

    def timeout(self):
        self.request.settimeout(0.05)
        self.request.recv(1)

    def nonblocking(self):
        self.request.setblocking(False)
        self.request.recv(1)

    def select(self):
        self.request.sendall(b"go")
        readable, writable, _ = select.select([self.request], [], [], 5)
        assert readable == [self.request]
        peeked = self.request.recv(10, socket.MSG_PEEK)
        read = self.request.recv(10)
        return f"{peeked} {read}"

    def selectors(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.request, selectors.EVENT_READ, "data")
            before = selector.select(0.01)
            self.request.sendall(b"go")
            return [before, [(key.data, mask) for key, mask in selector.select(5)]]

    def makefile(self):
        with self.request.makefile("rw", encoding="utf-8", newline="\n") as file:
            file.write("says: ")
            file.flush()
            line = file.readline()
            print(line.upper(), end="", file=file)

    def buffers(self):
        self.request.sendall(b"go")
        buffer = bytearray(6)
        count = self.request.recv_into(buffer, 3)
        count += self.request.recv_into(memoryview(buffer)[3:])
        sent = self.request.send(memoryview(buffer)[:count])
        return sent

    def half_close(self):
        self.request.sendall(b"half")
        self.request.shutdown(socket.SHUT_WR)
        try:
            self.request.send(b"x")
        except BrokenPipeError as error:
            assert error.errno == errno.EPIPE

    def closed(self):
        self.request.close()
        try:
            self.request.recv(1)
        except OSError as error:
            assert error.errno == errno.EBADF and self.request.fileno() == -1

    def database(self):
        return database.execute("select group_concat(name) from word").fetchone()

    def imports(self):
        import colorsys
        from fractions import Fraction

        return colorsys.rgb_to_hsv(1, 0, 0), Fraction(3, 6), "é".encode("cp1252"), "ü".encode("idna")

    def threads(self):
        results = []
        threads = [threading.Thread(target=results.append, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results, any(thread.is_alive() for thread in threads)

    def large(self):
        self.request.sendall(b"x" * 3_000_000)

    # What cannot work in a sandbox.

    def state(self):
        global counter
        counter += 1
        seen.append(counter)
        return counter

    def wait(self):
        queue.Queue().get()

    def program(self):
        subprocess.run(["true"])

    def system(self):
        os.system("true")

    def fork(self):
        os.fork()

    def connect(self):
        socket.create_connection(("127.0.0.1", 9))

    def other_client(self):
        self.server.socket.accept()

    def stop(self):
        self.server.shutdown()

    def missing(self):
        import multiprocessing

    def raise_later(self):
        self.request.sendall(b"before")
        raise ZeroDivisionError("as asked")

    def exit(self):
        raise SystemExit(3)

    def finish(self):
        print("finish")


if __name__ == "__main__":
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 9999), Handler)
    server.serve_forever()
