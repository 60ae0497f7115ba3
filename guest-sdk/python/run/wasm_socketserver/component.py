"""The order of a build, and the exports of the component.

The tool imports this module, and keeps the memory that it leaves: CPython without a program. To
build a program, the host calls `handle` of that component without a connection, and keeps the
memory again. The file `job.json` in the folder of this package names the program, and the file
`report.json` says how the build went. Without a program a build compiles the library.
"""

import gc
import json
import os
import sys

_FOLDER = os.path.dirname(os.path.dirname(__file__))

# CPython's modules stand on these. What has been imported before must stand on them, too.
for _name in ("_socket", "socket", "select", "selectors", "socketserver", "signal"):
    sys.modules.pop(_name, None)

from . import polling, sockets

sys.modules["_socket"] = sockets
sys.modules["select"] = polling

from . import processes, threads, waiting

processes.install()

import linecache
import socket
import socketserver
import traceback
import types

from componentize_py_types import Err

from . import heap, library, recording, report, request, sendfile, shared, streams, warm
from .errors import call
from .phase import Ended, Failed, Phase, Stopped

_NOTHING = """\
it ended without a server: neither serve_forever() nor handle_request() of a server of
socketserver was called. A build runs the file as `python3 FILE` does, so a server that is made
under `if __name__ == "__main__":` is found"""
# The modules that every request runs.
_SERVING = (
    "wasm_socketserver", "wit_world", "socketserver", "socket", "selectors", "threading", "weakref",
)
# Sizes of areas of memory, in bytes: for the program, and for a request. More is allocated if
# they need more, at other places.
_AREA_OF_PROGRAM = 1 << 20
_AREA_OF_REQUEST = 512 << 10


def _prepare():
    """Make all that programs have in common."""
    library.copy(os.path.join(_FOLDER, "library"))
    library.install()
    socket.socket._sendfile_use_sendfile = _sendfile
    waiting.install()
    threads.install()
    recording.install()
    streams.install()
    heap.fill(_AREA_OF_PROGRAM)
    heap.move_code(_SERVING)
    warm.run(StreamRequest)
    heap.keep_library()


def _build():
    """Run the program, and keep what a request needs of it."""
    # The folders are others than before.
    sys.path_importer_cache.clear()
    with open(os.path.join(_FOLDER, "job.json")) as file:
        job = json.load(file)
    if "file" not in job:
        # The memory of this build is not kept.
        library.compile_common()
        return
    error = _run(job)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    streams.output.end()
    streams.errors.end()
    servers = list(recording.servers.values())
    result = {"output": streams.Output.built, "error": error, "servers": []}
    try:
        if error is None:
            for recorded in servers:
                recorded.restore()
            result["servers"] = [report.server(recorded) for recorded in servers]
            library.keep()
            _keep_sources()
            processes.refuse_programs()
            logging = sys.modules.get("logging")
            if logging is not None:
                streams.give_levels_to(logging)
            shared.remember([recorded.server for recorded in servers])
            processes.State.before_fork = shared.warn
    except Exception:
        result["error"] = "the build failed:\n" + traceback.format_exc()
    result["files"] = sorted(_opened_in([job["folder"], *job["packages"]]))
    with open(os.path.join(_FOLDER, "report.json"), "w") as file:
        json.dump(result, file)
    # The tool empties this list, one element at a time.
    request.Program.argv = sys.argv
    sys.argv = [""]
    gc.collect()
    with open(os.path.join(_FOLDER, "objects"), "wb") as file:
        heap.write_objects(file)
    heap.keep_frames()
    # It has names of attributes, which requests would free.
    sys._clear_type_cache()
    heap.fill(_AREA_OF_REQUEST)
    # What the lines before have left in CPython's lists of free objects.
    gc.collect()
    gc.freeze()
    heap.fill(_AREA_OF_REQUEST)


# The files that the program has read. Another build is needed when one of them has changed.
_opened = set()


def _note_open(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        _opened.add(os.path.abspath(arguments[0]))


def _opened_in(folders):
    folders = tuple(f"{folder}/" for folder in folders)
    return [
        path for path in _opened if path.startswith(folders) and "/__pycache__/" not in path
    ]


def _run(job):
    """Run the file as a program. Return an error, or None if it has made a server."""
    name = job["file"]
    path = os.path.join(job["folder"], name)
    os.environ.clear()
    os.environ.update(job["env"])
    sys.argv = [name, *job["args"]]
    sys.dont_write_bytecode = True
    sys.path[:] = [job["folder"], *job["packages"], *job["library"]]
    os.chdir(job["folder"])
    sys.addaudithook(_note_open)
    main = types.ModuleType("__main__")
    main.__file__ = path
    main.__builtins__ = __builtins__
    sys.modules["__main__"] = main
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), name, "exec", dont_inherit=True)
        exec(code, vars(main))
    except Failed as failed:
        return str(failed)
    except (Stopped, Ended, SystemExit):
        pass
    except BaseException as error:
        if not Phase.serving:
            frames = error.__traceback__
            while frames and frames.tb_frame.f_code.co_filename == __file__:
                frames = frames.tb_next
            lines = traceback.format_exception(type(error), error, frames)
            return "it failed when it was run:\n" + "".join(lines).rstrip()
    return None if Phase.serving else _NOTHING


def _keep_sources():
    """Keep the lines of the program, which tracebacks show."""
    main = sys.modules["__main__"]
    # Its code has the name of the file alone.
    files = {main.__file__: os.path.basename(main.__file__), socketserver.__file__: socketserver.__file__}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None) or ""
        if file.endswith(".py") and not file.startswith(("/world/", "/bundled/", "/1/", "/python/")):
            files.setdefault(file, file)
    for file, name in files.items():
        source = library._read(file)
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)


def _sendfile(self, file, offset=0, count=None):
    """CPython's method of sockets, which has no `os.sendfile` here."""
    return sendfile.use_sendfile(self, self._connected().handle, call, file, offset, count)


def _as_error(function, *arguments):
    try:
        function(*arguments)
    except Err:
        raise
    except BaseException as error:
        raise Err(f"{type(error).__name__}: {error}") from None


class StreamRequest:
    request = None

    def setup(self, handle, client_address):
        StreamRequest.request = ("stream", handle, client_address)

    def handle(self):
        if StreamRequest.request is None:
            _as_error(_build)
        else:
            _as_error(request.run, *StreamRequest.request)

    def finish(self):
        pass


class DatagramRequest:
    request = None

    def setup(self, pair, client_address):
        data, handle = pair
        DatagramRequest.request = ("datagram", handle, client_address, data)

    def handle(self):
        _as_error(request.run, *DatagramRequest.request)

    def finish(self):
        pass


_prepare()
