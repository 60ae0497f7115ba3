"""The end of a request in Python, which componentize-py does not provide."""

import atexit
import functools
import sys


def handler(cls):
    """Make the requests of a handler class end as a program ends.

    After `finish`, and after a `setup` that fails, the functions of `atexit` run,
    including those of `weakref.finalize` and `logging`. Then the standard streams
    are flushed.
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
            # The end of the interpreter runs these functions.
            exits = False
            raise
        finally:
            if exits:
                _exit()

    return wrapper


def _exit():
    # The functions that `threading` registers are not called: there are no threads. If
    # a function fails, `atexit` reports it on standard error and calls the next one.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # The handler replaced or closed the stream, or it cannot be written to.
            pass
