"""Answers with what a handler sees of the layout of its memory."""

import atexit
import sys

MODULES = list(sys.modules)
PATH = list(sys.path)

import gc
import weakref

from socketserver_guest import BaseRequestHandler, stream_request
import socketserver_guest

TEXT = "a text of the handler" * 2
FREED = []
CALLED = []
atexit.register(CALLED.append, "an exit")
gc.callbacks.append(lambda phase, info: CALLED.append(phase))


class Thing:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        FREED.append(self.name)


THINGS = [Thing("in a list")]
CYCLE = Thing("in a cycle")
CYCLE.itself = CYCLE
WATCHED = Thing("watched")
weakref.finalize(WATCHED, FREED.append, "the finalizer")


class Layout(BaseRequestHandler):
    made = 0

    def __new__(cls):
        cls.made += 1
        return super().__new__(cls)

    def handle(self):
        question = self.request.recv(1024).decode()
        self.request.sendall(str(getattr(self, question)()).encode())

    def kept(self):
        """Answer which objects CPython does not count."""
        objects = Layout, Layout.handle, TEXT, socketserver_guest, BaseRequestHandler, self.__dict__
        return [sys._is_immortal(each) for each in objects]

    def freed(self):
        global CYCLE, WATCHED
        THINGS.clear()
        CYCLE = WATCHED = None
        gc.collect()
        return FREED

    def seen(self):
        """Answer with what would not be there without a layout, or be another."""
        names = [name for name in MODULES if "wasm_socketserver" in name or name in ("gc", "struct")]
        names += [name for name in sys.path_importer_cache if "wasm_socketserver" in name]
        is_own = sys.modules["_wasm_socketserver"] is sys.modules[__name__]
        streams = sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__
        state = gc.isenabled(), gc.get_freeze_count(), sys.excepthook is sys.__excepthook__
        return self.made, CALLED, names, PATH == sys.path, __name__, is_own, streams, *state

    def allocated(self):
        """Allocate blocks of all sizes, and answer with the sum of their lengths."""
        blocks = [bytes(size) for size in range(600) for _ in range(20)]
        return sum(map(len, blocks)) + sum(len(str(1000 + number)) for number in range(20_000))


StreamRequest = stream_request(Layout)
