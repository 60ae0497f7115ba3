"""The phase of the program: the build, or a request."""


class Phase:
    # True until the file has run to its end.
    building = True
    # True if a server was recorded: what follows in the file would run beside its loop.
    serving = False


class Ended(BaseException):
    """Ends the program or the request. It passes through `except Exception`."""


class Stopped(KeyboardInterrupt):
    """Leaves `serve_forever` during a build, as Ctrl-C does."""


class Failed(BaseException):
    """Ends a build with an error for the user."""
