"""Calls that would wait for another thread. In a component there is one thread."""

import queue
import threading
import time

from .phase import Ended, Phase, Stopped

_WOULD_WAIT = (
    "this waits for another thread, and a request has one thread: a thread runs to its end "
    "inside start(). Call its function directly, or let the client open a second connection"
)


class Parked(Ended):
    """Leaves a thread that would wait for another one for ever."""


class State:
    # The threads that run inside `start`, the innermost last.
    running = []
    # The threads that wait, and will wait for ever.
    parked = set()


def wait_for_others(timeout):
    """Do what a call does that only another thread can end."""
    if timeout is not None:
        time.sleep(max(timeout, 0))
        return
    if State.running:
        raise Parked
    if Phase.building and Phase.serving:
        # The main thread waits until the threads that serve end.
        raise Stopped
    raise RuntimeError(_WOULD_WAIT)


def _wait(self, timeout=None):
    """Condition.wait: no other thread can notify this one."""
    if not self._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    saved = self._release_save()
    try:
        wait_for_others(timeout)
    finally:
        self._acquire_restore(saved)
    return False


_sleep = time.sleep


def _sleep_while_serving(seconds):
    if Phase.building and Phase.serving and not State.running:
        # The program keeps its main thread alive while other threads serve.
        raise Stopped
    _sleep(seconds)


def install():
    threading.Condition.wait = _wait
    # The one in C waits without a Condition.
    queue.SimpleQueue = queue._PySimpleQueue
    time.sleep = _sleep_while_serving
