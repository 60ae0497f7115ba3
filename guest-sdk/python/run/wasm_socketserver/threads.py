"""Threads: each runs to its end inside `start`."""

import _thread
import threading

from . import waiting
from .phase import Ended

_is_alive = threading.Thread.is_alive
_join = threading.Thread.join


def _start(self):
    if not self._initialized:
        raise RuntimeError("thread.__init__() not called")
    if self._started.is_set():
        raise RuntimeError("threads can only be started once")
    ident = threading.get_ident()
    self._os_thread_handle = _thread._make_thread_handle(ident)
    self._ident = ident
    self._started.set()
    before = threading.current_thread()
    threading._active[ident] = self
    # What the thread of a request waits for can no more come than for a request without one.
    is_request = getattr(self._target, "__name__", None) == "process_request_thread"
    if not is_request:
        waiting.State.running.append(self)
    try:
        self.run()
    except waiting.Parked:
        waiting.State.parked.add(self)
    except Ended:
        raise
    except BaseException:
        self._invoke_excepthook(self)
    finally:
        if not is_request:
            waiting.State.running.pop()
        threading._active[ident] = before
        if self not in waiting.State.parked:
            self._os_thread_handle._set_done()


def _start_new_thread(function, args, kwargs={}):
    threading.Thread(target=function, args=args, kwargs=kwargs).start()
    return threading.get_ident()


def _join_or_wait(self, timeout=None):
    if self in waiting.State.parked:
        waiting.wait_for_others(timeout)
    else:
        _join(self, timeout)


def install():
    threading.Thread.start = _start
    threading.Thread.join = _join_or_wait
    _thread.start_new_thread = _start_new_thread
