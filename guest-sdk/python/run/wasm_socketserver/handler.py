"""The entry of a handler on the contract: it imports the handler's module, and lays out the memory
of the component.

The tool imports this module in place of the handler's, and keeps the memory that it leaves. The
file `module` beside this one has the name of the handler's module. What is imported here is hidden
from it, and no function of it is called.
"""

import sys

# The modules that the handler's module finds.
_found = [name for name in sys.modules if name != __name__]

import gc

from . import heap

_folder = __file__.rpartition("/")[0]
_open = open
_SDK = "socketserver_guest"
# The modules that the tool imports next, for each handler.
_NEXT = ("wit_world.imports.sockets", "wit_world.imports.log", "random")
# The size of the area of memory for a request, in bytes. A handler must fit into the memory of the
# profile `hostile`, so its module has what blocks are free.
_AREA_OF_REQUEST = 128 << 10
# CPython rewrites code at its second run, and tries again later what it cannot rewrite.
_TIMES = 40
_DATA = b"hello\n"


class _Handle:
    """A socket of the host."""

    def recv(self, bufsize):
        return _DATA

    def sendall(self, data):
        pass

    def sendto(self, data, address):
        return len(data)


def _import():
    """Import the handler's module. A traceback of it does not show this one."""
    with _open(f"{_folder}/module") as file:
        name = file.read()
    for other in [other for other in sys.modules if other not in _found]:
        del sys.modules[other]
    sys.path_importer_cache.pop(_folder, None)
    try:
        return __import__(name)
    except BaseException:
        hook = sys.excepthook

        def report(kind, error, frames):
            while frames and frames.tb_frame.f_code.co_filename == __file__:
                frames = frames.tb_next
            hook(kind, error.with_traceback(frames), frames)

        sys.excepthook = report
        raise


def _is_unchanged(sdk):
    """Return whether all functions of the SDK are its own. A handler's module can replace them."""
    folders = [each.__file__.rpartition("/")[0] for each in (sdk, sdk._stdlib)]
    places = [vars(sdk)]
    places += [vars(each) for each in vars(sdk).values() if isinstance(each, type)]
    for names in places:
        for each in names.values():
            each = getattr(each, "fget", getattr(each, "__func__", each))
            code = getattr(each, "__code__", None)
            if code is not None and code.co_filename.rpartition("/")[0] not in folders:
                return False
    return True


def _warm(sdk):
    """Serve requests with handlers of this module, so that CPython rewrites the code of the SDK
    for the types that it meets now, and not in each request."""
    types = sdk.types
    client = types.Address_Ipv4(types.Ipv4Address((127, 0, 0, 1), 9))

    class Stream(sdk.BaseRequestHandler):
        def handle(self):
            self.request.sendall(self.request.recv(1024))

    class Datagram(sdk.BaseRequestHandler):
        def handle(self):
            data, socket = self.request
            socket.sendto(data, self.client_address)

    kinds = (
        (sdk.stream_request(Stream), _Handle()),
        (sdk.datagram_request(Datagram), (_DATA, _Handle())),
        (sdk.datagram_request(sdk.DatagramRequestHandler), (_DATA, _Handle())),
    )
    streams, run_exit_functions = (sys.stdout, sys.stderr), sdk.atexit._run_exitfuncs
    # Nothing of the handler's module runs at the end of these requests.
    sys.stdout = sys.stderr = sdk.io.TextIOWrapper(sdk.io.BytesIO())
    sdk.atexit._run_exitfuncs = sdk.atexit._ncallbacks
    try:
        for exported, request in kinds:
            for _ in range(_TIMES):
                exported().setup(request, client)
                exported().handle()
                exported().finish()
    finally:
        sys.stdout, sys.stderr = streams
        sdk.atexit._run_exitfuncs = run_exit_functions
        sdk._Request.current = None


def _lay_out():
    callbacks, gc.callbacks[:] = gc.callbacks[:], ()
    gc.collect()
    with _open(f"{_folder}/objects", "wb") as file:
        heap.write_objects(file)
    heap.keep_frames()
    # It has names of attributes, which requests would free.
    sys._clear_type_cache()
    heap.fill(_AREA_OF_REQUEST)
    # What the lines before have left in CPython's lists of free objects.
    gc.collect()
    heap.fill(_AREA_OF_REQUEST)
    gc.callbacks[:] = callbacks


heap.keep_library()
_module = _import()
for _name in _NEXT:
    try:
        __import__(_name)
    except ModuleNotFoundError:
        # It has another name in a world with more interfaces.
        pass
_sdk = sys.modules.get(_SDK)
if _sdk is not None and _is_unchanged(_sdk):
    _warm(_sdk)
_lay_out()
# The tool looks up the exports in the module that it has imported.
sys.modules[__name__] = _module
