"""Sockets that a handler opens: the functions of Python's `socket` that reach beyond the request,
and `select`.

The operator grants addresses with --connect, --listen-grant, --resolve and --raw. Everything else
raises `PermissionError`, and the log of the host names the option that would permit it. The build
gives the interface `network` only to a handler that imports this module.

Families and types are the constants of this module. They are those of the module `socket` of the
handler where that has them, whose numbers are not those of Linux.
"""

import errno
import ipaddress
import os
import socket as _stdlib

from componentize_py_types import Err
from socketserver_guest import Socket as _Request
from socketserver_guest import _call, _constant, _from_contract, types
from wit_world.imports import network

_FAMILIES = {_constant(_stdlib, case.name): case for case in types.Family}
_TYPES = {_constant(_stdlib, case.name): case for case in types.SocketKind}
AF_INET, AF_INET6, AF_UNIX = _FAMILIES
SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_RDM, SOCK_RAW = _TYPES
# With the numbers of Linux.
AI_PASSIVE, AI_NUMERICHOST = 1, 4

gaierror = _stdlib.gaierror


def _case(cases, constant, number, text):
    if constant not in cases:
        raise OSError(number, text)
    return cases[constant]


def _family(constant):
    number, text = errno.EAFNOSUPPORT, "address family not supported by protocol"
    return _case(_FAMILIES, constant, number, text)


def _type(constant):
    return _case(_TYPES, constant, errno.EINVAL, "invalid argument")


class Socket(_Request):
    """A socket that a handler opened. Python's class `socket.socket`.

    It has all methods of the request socket too. Its waits and its bytes count towards the limits
    of the request.
    """

    def __init__(self, family=AF_INET, type=SOCK_STREAM, proto=0, *, _handle=None):
        if _handle is None:
            _handle = _call(network.create_socket, _family(family), _type(type), proto)
        super().__init__(_handle, None)

    def bind(self, address):
        _call(network.bind, self._socket, self._to_contract(address))

    def listen(self, backlog=128):
        _call(network.listen, self._socket, backlog)

    def accept(self):
        handle, address = _call(network.accept, self._socket)
        return Socket(_handle=handle), _from_contract(address)

    def connect(self, address):
        _call(network.connect, self._socket, self._to_contract(address))

    def connect_ex(self, address):
        """Connect, and return 0 or the number of the error on Linux."""
        return network.connect_ex(self._socket, self._to_contract(address))

    def sendto(self, data, *flags_and_address):
        *flags, address = flags_and_address
        address = self._to_contract(address)
        if flags:
            return _call(self._socket.sendto_with_flags, bytes(data), *flags, address)
        return _call(self._socket.sendto, bytes(data), address)

    def _to_contract(self, address):
        """Return an address as the contract has it. A name is looked up, as in CPython."""
        if self.family == AF_UNIX:
            path = os.fsencode(address) if isinstance(address, str) else bytes(address)
            if not path:
                return types.Address_Unix(types.UnixAddress_Unnamed())
            if path[0] == 0:
                return types.Address_Unix(types.UnixAddress_Abstract(path[1:]))
            return types.Address_Unix(types.UnixAddress_Pathname(path))
        host, port, *rest = address
        if not 0 <= port <= 65535:
            raise OverflowError("port must be 0-65535.")
        if host == "":
            host = "::" if self.family == AF_INET6 else "0.0.0.0"
        try:
            numeric = ipaddress.ip_address(host)
        except ValueError:
            found = getaddrinfo(host, port, self.family, self.type)
            numeric = ipaddress.ip_address(found[0][4][0])
        if numeric.version == 4:
            return types.Address_Ipv4(types.Ipv4Address(tuple(numeric.packed), port))
        groups = tuple(int.from_bytes(numeric.packed[at : at + 2]) for at in range(0, 16, 2))
        flowinfo, scope = (*rest, 0, 0)[:2]
        return types.Address_Ipv6(types.Ipv6Address(groups, port, flowinfo, scope))


socket = Socket


def socketpair(family=AF_UNIX, type=SOCK_STREAM, proto=0):
    pair = _call(network.socketpair, _family(family), _type(type), proto)
    return tuple(Socket(_handle=handle) for handle in pair)


# The exceptions for the cases of `lookup-error`, in its order. The numbers are those of Linux.
_LOOKUP_ERRORS = (
    None,
    (-3, "temporary failure in name resolution"),
    (-1, "bad value for ai_flags"),
    (-4, "non-recoverable failure in name resolution"),
    (-6, "ai_family not supported"),
    (-10, "memory allocation failure"),
    (-2, "name or service not known"),
    (-8, "service not supported for ai_socktype"),
    (-7, "ai_socktype not supported"),
    (-11, "system error"),
)


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    """Return the addresses of a host and a port, as CPython does. The canonical name is empty.

    The port is a number, its text, or `None`.
    """
    service = None if port is None else str(port)
    family, type = family and _family(family), type and _type(type)
    try:
        found = network.getaddrinfo(host, service, family or None, type or None, proto, flags)
    except Err as error:
        case = error.value.value
        if _LOOKUP_ERRORS[case] is None:
            raise PermissionError(errno.EACCES, "permission denied") from None
        raise gaierror(*_LOOKUP_ERRORS[case]) from None
    return [
        (
            _constant(_stdlib, one.family.name),
            _constant(_stdlib, one.socket_type.name),
            one.proto,
            "",
            _from_contract(one.address),
        )
        for one in found
    ]


def gethostbyname(hostname):
    """Return the first IPv4 address of a host, as text."""
    found = getaddrinfo(hostname, None, AF_INET, SOCK_STREAM)
    if not found:
        raise gaierror(*_LOOKUP_ERRORS[6])
    return found[0][4][0]


def create_connection(address, timeout=None, source_address=None, *, all_errors=False):
    """Connect to a host and a port over TCP, at each address of the host in turn.

    Each attempt has the timeout, which is that of the socket then.
    """
    host, port = address
    errors = []
    for family, kind, proto, _, address in getaddrinfo(host, port, 0, SOCK_STREAM):
        connection = None
        try:
            connection = Socket(family, kind, proto)
            connection.settimeout(timeout)
            if source_address:
                connection.bind(source_address)
            connection.connect(address)
            return connection
        except OSError as error:
            errors.append(error)
            if connection is not None:
                connection.close()
    if not errors:
        raise OSError("getaddrinfo returns an empty list")
    raise ExceptionGroup("create_connection failed", errors) if all_errors else errors[-1]


def select(rlist, wlist, xlist, timeout=None):
    """Wait until a socket of a list is ready, or until the timeout is over.

    The request socket may be one of them. Python's `select.select`.
    """
    lists = [list(sockets) for sockets in (rlist, wlist, xlist)]
    handles = [[socket._socket for socket in sockets] for sockets in lists]
    timeout = None if timeout is None else float(timeout)
    ready = _call(network.select, *handles, timeout)
    places = (ready.readers, ready.writers, ready.exceptional)
    return tuple(
        [sockets[place] for place in found] for sockets, found in zip(lists, places)
    )
