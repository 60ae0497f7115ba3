"""Changes that no other request sees, because each request has a copy of the program."""

import sys

from .streams import errors, level

_PLAIN = (int, float, str, bytes, bool, type(None))
_COMPARED = (*_PLAIN, tuple, frozenset)
_COUNTED = (list, dict, set, bytearray)
# What socketserver itself changes.
_OWN = (
    "_threads", "active_children", "_BaseServer__shutdown_request", "server_address", "server_port",
)
_CHANGED = (
    "this request changed {}, and no later request sees that: each has a copy of the program. "
    "Keep what requests share in a file of a granted directory (--dir), or in another server"
)

# What has objects in it is not kept here: the program may wait for their end.
_baseline = []


def remember(servers):
    """Remember the state that the program has when it begins to serve."""
    places = [("global variable", "", vars(sys.modules["__main__"]))]
    for server in servers:
        places.append(("attribute", "server.", vars(server)))
        handler = getattr(server, "RequestHandlerClass", None)
        if getattr(handler, "__module__", None) == "__main__":
            places.append(("attribute", handler.__name__ + ".", vars(handler)))
    for what, prefix, names in places:
        for name, value in list(names.items()):
            if name in _OWN or name.startswith("__"):
                continue
            length = len(value) if isinstance(value, _COUNTED) else None
            if length is not None or isinstance(value, _COMPARED):
                kept = value if isinstance(value, _PLAIN) else None
                label = f"the {what} `{prefix}{name}`"
                _baseline.append((label, names, name, id(value), kept, length))


def warn():
    """Log the names of what the request has changed, if it has changed something."""
    changed = []
    for label, names, name, number, _, length in _baseline:
        now = names.get(name)
        same = id(now) == number
        if same and length is not None:
            # Another object may be where the first was.
            same = isinstance(now, _COUNTED) and len(now) == length
        if not same:
            changed.append(label)
    if changed:
        with level("warning"):
            errors.write((_CHANGED.format(", ".join(changed[:5])) + "\n").encode())
