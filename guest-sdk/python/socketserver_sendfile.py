"""Files of granted directories (--dir), which the kernel sends: no byte passes through the handler.

The interface `sendfile` takes a descriptor of the host, and WASI does not tell which one stands
behind the number that Python has of a file. So the file is opened again by its name, and both must
have the same hash, which tells files apart. Any other file is read and sent, as in CPython.
"""

import errno
import operator
import os
import stat
from socket import _GiveupOnSendfile

from componentize_py_types import Err
from wit_world.imports import preopens
from wit_world.imports import sendfile as host
from wit_world.imports import wasi_filesystem_types as files

# The largest offset of a file.
_MAX = (1 << 63) - 1
# The errors for a file that cannot be sent like that. Reading it has the error that CPython has.
_OF_FILES = {errno.EBADF, errno.EINVAL, errno.ENOTSUP}


def use_sendfile(socket, handle, call, file, offset, count):
    """Do what the method `_sendfile_use_sendfile` of CPython's sockets does.

    `handle` is the socket of the host, and `call` makes a call of the contract.
    """
    socket._check_sendfile_params(file, offset, count)
    try:
        status = os.fstat(file.fileno())
    except (AttributeError, OSError) as error:
        raise _GiveupOnSendfile(error)
    if not status.st_size:
        return 0
    if socket.gettimeout() == 0:
        raise ValueError("non-blocking sockets are not supported")
    opened = _opened_again(file, status.st_ino)
    if opened is None or not 0 <= operator.index(offset) <= _MAX:
        if stat.S_ISREG(status.st_mode) and hasattr(file, "seek"):
            # The kernel begins at the offset, wherever the file is. Reading begins where the file
            # is, if the offset is 0.
            file.seek(0)
        raise _GiveupOnSendfile
    most = _MAX if count is None else count
    total = 0
    try:
        with opened:
            while total < most:
                sent = call(host.sendfile, handle, opened, offset, min(most - total, _MAX))
                if not sent:
                    break
                offset += sent
                total += sent
        return total
    except OSError as error:
        if total or error.errno not in _OF_FILES:
            raise
        raise _GiveupOnSendfile(error)
    finally:
        if total and hasattr(file, "seek"):
            file.seek(offset)


def _opened_again(file, number):
    """Open the file of a granted directory that a file of Python stands for, or return None."""
    try:
        if not file.readable():
            return None
        path = os.path.abspath(os.fsdecode(file.name))
        path.encode()
    except (AttributeError, TypeError, ValueError, OSError):
        # It has no name, or one that WASI cannot have.
        return None
    # As in WASI's C library, the directory with the longest name that fits.
    granted = [(_root(name), directory) for directory, name in preopens.get_directories()]
    fitting = [each for each in granted if path.startswith(each[0])]
    if not fitting:
        return None
    root, directory = max(fitting, key=lambda each: len(each[0]))
    try:
        opened = directory.open_at(
            files.PathFlags.SYMLINK_FOLLOW,
            path[len(root) :],
            files.OpenFlags(0),
            files.DescriptorFlags.READ,
        )
        # WASI's C library takes this half of the hash for the number of a file.
        return opened if opened.metadata_hash().lower == number else None
    except Err:
        return None


def _root(name):
    return os.path.normpath(f"/{name.lstrip('/')}").rstrip("/") + "/"
