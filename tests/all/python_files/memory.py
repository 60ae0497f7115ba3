"""Objects of the program that requests free, and those that are never freed."""

import socketserver
import sys
import threading
import weakref


class Thing:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        FREED.append(self.name)


FREED = []
THINGS = [Thing("in a list"), Thing("in a list, too")]
BY_NAME = {"one": Thing("in a dictionary")}
PAIR = (Thing("in a tuple"), 1)
TEXT = "a text of the program" * 2
WATCHED = Thing("watched")


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        question = self.rfile.readline().strip()
        if question == b"freed":
            global PAIR, WATCHED
            watch = weakref.ref(WATCHED, lambda _: FREED.append("the weak reference"))
            THINGS.clear()
            BY_NAME.pop("one")
            PAIR = WATCHED = None
            assert watch() is None
            answer = FREED
        elif question == b"kept":
            kept = (Handler, Handler.handle, TEXT, socketserver, self.__class__.__name__, sys.modules)
            answer = [sys._is_immortal(each) for each in kept]
        else:
            answer = [threading.active_count(), self.server.socket.fileno() > 2, self.request.fileno() > 2]
        self.wfile.write(repr(answer).encode())


class Server(socketserver.ForkingMixIn, socketserver.TCPServer):
    # Each request has a copy of the program, as it has here.
    pass


if __name__ == "__main__":
    with Server(("localhost", 9999), Handler) as server:
        server.serve_forever()
