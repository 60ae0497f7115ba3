"""Logs at exit. The first byte from the client selects the step that fails: `s`, `h` or `f`."""

import atexit
import weakref

from componentize_py_types import Err
from socketserver_guest import handler
from wit_world import exports
from wit_world.imports import log
from wit_world.imports.log import Level


def say(message: str) -> None:
    log.log(Level.INFO, message)


def step(initial: bytes, name: str) -> None:
    say(name)
    if StreamRequest.fails == initial:
        raise Err(name)


class Held:
    pass


# This runs when the component is built. Each request has the registered function.
atexit.register(say, "atexit, registered by the module")


@handler
class StreamRequest(exports.StreamRequest):
    fails = b""
    held = Held()

    def setup(self, request, client_address) -> None:
        StreamRequest.fails = request.recv(1)
        weakref.finalize(StreamRequest.held, say, "what it holds finalized")
        atexit.register(say, "atexit")
        step(b"s", "setup")

    def handle(self) -> None:
        try:
            step(b"h", "handle")
        finally:
            say("finally")

    def finish(self) -> None:
        step(b"f", "finish")
