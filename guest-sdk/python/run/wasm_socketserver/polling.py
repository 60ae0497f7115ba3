"""The module `select`: waits on the request socket, and on sockets that the handler opened."""

import time

from . import network, sockets
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


def _wait_for(reading, writing, timeout):
    """Return those of the numbers that can be read, and those that can be written to."""
    links = {number: _link(number) for number in {*reading, *writing}}
    if not any(isinstance(link, network.Opened) for link in links.values()):
        # The request socket can be written to, or its calls wait with the limits of the request.
        return _wait(reading, timeout, bool(writing)), writing
    if None in links.values():
        raise unsupported("the socket of a datagram request cannot be waited for with others")
    ahead = [number for number in reading if links[number].ahead or links[number].ended]
    if ahead:
        timeout = 0.0
    elif timeout is not None and timeout < 0:
        timeout = None
    elif timeout is not None:
        timeout = float(timeout)
    readers, writers = network.select(
        [links[number] for number in reading], [links[number] for number in writing], timeout
    )
    readable = {*ahead, *(reading[place] for place in readers)}
    return (
        [number for number in reading if number in readable],
        [writing[place] for place in writers],
    )


def _link(number):
    found = sockets.by_number.get(number)
    return getattr(found, "_link", found)


def select(rlist, wlist, xlist, timeout=None):
    rlist, wlist = list(rlist), list(wlist)
    files = {_number(file): file for file in (*rlist, *wlist)}
    reading, writing = [_number(file) for file in rlist], [_number(file) for file in wlist]
    readable, writable = _wait_for(reading, writing, timeout)
    return [files[number] for number in readable], [files[number] for number in writable], []


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
        readable, writable = _wait_for(reading, writing, seconds)
        events = []
        for number in self._files:
            event = (number in readable) * POLLIN | (number in writable) * POLLOUT
            if event:
                events.append((number, event))
        return events
