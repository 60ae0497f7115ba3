"""Runs a server of the notes, unchanged, at a free port of 127.0.0.1 in the place of its own.

    run.py PROGRAM

Prints `listening tcp://HOST:PORT` or `listening udp://HOST:PORT` to standard output when clients
can connect. What the program prints goes to standard error.
"""
import os
import runpy
import socket
import sys

announcements = os.dup(1)
os.dup2(2, 1)


class Socket(socket.socket):
    def announce(self):
        host, port = self.getsockname()
        kind = "tcp" if self.type == socket.SOCK_STREAM else "udp"
        os.write(announcements, f"listening {kind}://{host}:{port}\n".encode())

    def bind(self, address):
        super().bind(("127.0.0.1", 0))
        if self.type == socket.SOCK_DGRAM:
            self.announce()

    def listen(self, *backlog):
        super().listen(*backlog)
        self.announce()


socket.socket = Socket
runpy.run_path(sys.argv[1], run_name="__main__")
