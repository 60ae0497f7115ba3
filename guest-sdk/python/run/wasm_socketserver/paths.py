"""The files of Unix sockets. The host makes them when it listens, so what the program does to them
at the build is recorded here."""

import os

from .phase import Phase

# The longest path or abstract name of a Unix socket, in bytes.
_LONGEST = 107


class State:
    # The mask of permissions, if the program has set it.
    umask = None


# The sockets that the program has bound, by their absolute paths.
_bound = {}
# What the program did to the file of a socket that the host does not do: sockets, and texts.
ignored = []


def name_of(address):
    """Return the name of a Unix socket as `getsockname` has it."""
    if not isinstance(address, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"a bytes-like object is required, not {type(address).__name__!r}")
    name = os.fsencode(address) if isinstance(address, str) else bytes(address)
    if len(name) > _LONGEST + name.startswith(b"\0"):
        raise OSError("AF_UNIX path too long")
    return name if name.startswith(b"\0") else os.fsdecode(name)


def note(socket):
    """Note that the program has bound a socket to a path."""
    if isinstance(socket._bound, str) and socket._bound:
        _bound[os.path.abspath(socket._bound)] = socket
        if State.umask is not None:
            socket._mode = 0o777 & ~State.umask


def _socket_at(path):
    if not Phase.building or isinstance(path, int):
        return None
    return _bound.get(os.path.abspath(os.fsdecode(path)))


def _umask(mask):
    before, State.umask = State.umask, mask & 0o777
    return 0o022 if before is None else before


def install():
    missing = NotImplementedError("the sandbox has no permissions of files")
    plain_chmod = getattr(os, "chmod", None)

    def chmod(path, mode, **rest):
        socket = _socket_at(path)
        if socket is not None:
            socket._mode = mode & 0o777
        elif plain_chmod is None:
            raise missing
        else:
            plain_chmod(path, mode, **rest)

    plain_chown = getattr(os, "chown", None)

    def chown(path, uid, gid, **rest):
        socket = _socket_at(path)
        if socket is not None:
            ignored.append((socket, f"os.chown({path!r}, {uid}, {gid})"))
        elif plain_chown is None:
            raise missing
        else:
            plain_chown(path, uid, gid, **rest)

    os.chmod = chmod
    os.chown = chown
    os.umask = _umask
