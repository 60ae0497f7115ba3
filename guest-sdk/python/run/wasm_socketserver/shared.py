"""Changes that no other request sees, because each request has a copy of the program."""

import sys

from .streams import errors, level

_COMPARED = (int, float, str, bytes, bool, type(None), tuple, frozenset)
_COUNTED = (list, dict, set, bytearray)
# What socketserver itself changes.
_OWN = (
    "_threads", "active_children", "_BaseServer__shutdown_request", "server_address", "server_port",
)
_CHANGED = (
    "this request changed {}, and no later request sees that: each has a copy of the program. "
    "Keep what requests share in a file of a granted directory (--dir), or in another server"
)

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
            if isinstance(value, _COUNTED):
                _baseline.append((f"the {what} `{prefix}{name}`", names, name, value, len(value)))
            elif isinstance(value, _COMPARED):
                _baseline.append((f"the {what} `{prefix}{name}`", names, name, value, None))


def warn():
    """Log the names of what the request has changed, if it has changed something."""
    changed = []
    for label, names, name, value, length in _baseline:
        now = names.get(name)
        if now is not value or (length is not None and len(now) != length):
            changed.append(label)
    if changed:
        with level("warning"):
            errors.write((_CHANGED.format(", ".join(changed[:5])) + "\n").encode())
