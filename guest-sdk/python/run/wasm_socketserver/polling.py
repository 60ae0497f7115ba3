"""The module `select`: waits on the request socket."""

import time

from . import sockets
from .errors import unsupported
from .phase import Phase

error = OSError
POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLNVAL = 1, 2, 4, 8, 16, 32
POLLRDNORM, POLLWRNORM = 0x40, 0x100
PIPE_BUF = 4096
# The longest time between two looks at several sockets, in seconds.
_PAUSE = 0.01


def _number(file):
    number = file if isinstance(file, int) else file.fileno()
    if number < 0:
        raise ValueError("file descriptor cannot be a negative integer (-1)")
    return number


def _is_readable(number, timeout):
    found = sockets.by_number.get(number)
    if found is None:
        raise unsupported("only sockets can be waited for in the sandbox")
    if getattr(found, "_pending", None) is not None:
        return True
    if Phase.building and getattr(found, "_bound", None) is not None:
        # A loop of the program: what it calls next shows what it is.
        return True
    link = getattr(found, "_link", found)
    if link is None or getattr(found, "_type", 1) != 1:
        time.sleep(timeout or 0.0)
        return False
    return link.is_readable(timeout)


def _wait(reading, timeout, ready_now):
    """Return those of the numbers in `reading` that can be read. Waits if `ready_now` is false."""
    if timeout is not None and timeout < 0:
        timeout = None
    ready = [number for number in reading if _is_readable(number, 0.0)]
    if ready or ready_now or timeout == 0:
        return ready
    if len(reading) == 1:
        return [number for number in reading if _is_readable(number, timeout)]
    if not reading and timeout is None:
        raise unsupported("select() without sockets and without a timeout never ends")
    end = None if timeout is None else time.monotonic() + timeout
    while not ready:
        left = _PAUSE if end is None else min(_PAUSE, end - time.monotonic())
        if left <= 0:
            break
        time.sleep(left)
        ready = [number for number in reading if _is_readable(number, 0.0)]
    return ready


def select(rlist, wlist, xlist, timeout=None):
    rlist, wlist = list(rlist), list(wlist)
    numbers = {_number(file): file for file in rlist}
    for file in wlist:
        _number(file)
    ready = _wait(numbers, timeout, bool(wlist))
    return [numbers[number] for number in ready], wlist, []


class poll:
    def __init__(self):
        self._files = {}

    def register(self, file, eventmask=POLLIN | POLLPRI | POLLOUT):
        self._files[_number(file)] = eventmask

    def modify(self, file, eventmask):
        self._files[_number(file)] = eventmask

    def unregister(self, file):
        del self._files[_number(file)]

    def poll(self, timeout=None):
        reading = [number for number, mask in self._files.items() if mask & POLLIN]
        writing = [number for number, mask in self._files.items() if mask & POLLOUT]
        if not self._files:
            return []
        seconds = None if timeout is None or timeout < 0 else timeout / 1000
        ready = set(_wait(reading, seconds, bool(writing)))
        events = []
        for number in self._files:
            event = (number in ready) * POLLIN | (number in writing) * POLLOUT
            if event:
                events.append((number, event))
        return events
