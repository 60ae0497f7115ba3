"""`fork` and `_exit`, signals, and other programs."""

import os
import signal
import sys

from .errors import unsupported
from .phase import Ended

_NO_PROGRAMS = (
    "a handler starts no programs: the sandbox has no processes. Do the work in Python, or let "
    "another server do it"
)


class Exited(Ended):
    """Ends the request, as `os._exit` ends a forked process."""


class State:
    forked = False
    # Called before the request is a process of its own, as far as the program can tell.
    before_fork = None


def _fork():
    if sys._getframe(1).f_globals.get("__name__") != "socketserver" or State.forked:
        raise unsupported(_NO_PROGRAMS)
    # The request has a copy of the program already: it is the child.
    State.forked = True
    State.before_fork()
    return 0


def _exit(status):
    raise Exited


def _no_programs(*args, **kwargs):
    raise unsupported(_NO_PROGRAMS)


def _no_children(*args):
    raise ChildProcessError(10, "No child processes")


def _signal(number, handler):
    # The host handles signals: it ends the server, and waits for its requests.
    return signal.SIG_DFL


def install():
    os.fork = _fork
    os._exit = _exit
    os.waitpid = _no_children
    os.WNOHANG = 1
    # Modules that find `fork` register functions for it.
    os.register_at_fork = lambda **functions: None
    os.waitstatus_to_exitcode = lambda status: status
    for name in ("system", "popen", "execv", "execve", "execvp", "spawnv", "posix_spawn"):
        setattr(os, name, _no_programs)
    for name in ("getuid", "geteuid", "getgid", "getegid"):
        setattr(os, name, lambda: 65534)
    signal.signal = _signal
    for name, number in (("SIGHUP", 1), ("SIGCHLD", 17), ("SIGUSR1", 10), ("SIGUSR2", 12)):
        if not hasattr(signal, name):
            setattr(signal, name, number)


def refuse_programs():
    """Make `subprocess` say why it cannot start a program."""
    subprocess = sys.modules.get("subprocess")
    if subprocess is not None:
        subprocess.Popen.__init__ = _no_programs
