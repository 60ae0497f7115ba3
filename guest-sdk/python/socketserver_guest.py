"""What componentize-py leaves out of a request handler of wasm-socketserver."""

import atexit
import functools
import sys


def handler(cls):
    """Has the requests of a class end as a program does.

    After `finish`, and after a `setup` that fails, the functions of `atexit` run,
    and with them those of `weakref.finalize` and `logging`; then the standard
    streams are flushed.
    """
    cls.setup = _exits_after(cls.setup, on_success=False)
    cls.finish = _exits_after(cls.finish, on_success=True)
    return cls


def _exits_after(method, *, on_success):
    @functools.wraps(method)
    def wrapper(*args):
        exits = True
        try:
            method(*args)
            exits = on_success
        except SystemExit:
            # It does that itself.
            exits = False
            raise
        finally:
            if exits:
                _exit()

    return wrapper


def _exit():
    # What threading registers is for threads, and there are none. Of the others one
    # that fails is reported on standard error, and the next one runs.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # It was taken away, closed, or cannot be written to.
            pass
