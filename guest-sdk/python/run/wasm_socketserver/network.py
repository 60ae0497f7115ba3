"""Sockets that a handler opens, and names that it looks up, as far as the operator grants them."""

from componentize_py_types import Err
from wit_world.imports import network
from wit_world.imports import socketserver_handler_types as types

from . import names
from .addresses import from_contract, to_contract
from .constants import *
from .errors import call, denied
from .link import Link
from .phase import Phase

_FAMILIES = {
    AF_INET: types.Family.AF_INET,
    AF_INET6: types.Family.AF_INET6,
    AF_UNIX: types.Family.AF_UNIX,
}
TYPES = {
    SOCK_STREAM: types.SocketKind.SOCK_STREAM,
    SOCK_DGRAM: types.SocketKind.SOCK_DGRAM,
    SOCK_SEQPACKET: types.SocketKind.SOCK_SEQPACKET,
    SOCK_RDM: types.SocketKind.SOCK_RDM,
    SOCK_RAW: types.SocketKind.SOCK_RAW,
}
_NOT_GRANTED = (
    "the operator has not granted this to handlers: --connect, --listen-grant, --resolve and --raw "
    "do, and the log of the host names the option for this call"
)
# The exceptions for the cases of `lookup-error`, in its order. The first is a denied lookup.
_LOOKUP_ERRORS = (
    None,
    (EAI_AGAIN, "Temporary failure in name resolution"),
    (EAI_BADFLAGS, "Bad value for ai_flags"),
    (EAI_FAIL, "Non-recoverable failure in name resolution"),
    (EAI_FAMILY, "ai_family not supported"),
    (EAI_MEMORY, "Memory allocation failure"),
    (EAI_NONAME, "Name or service not known"),
    (EAI_SERVICE, "Servname not supported for ai_socktype"),
    (EAI_SOCKTYPE, "ai_socktype not supported"),
    (EAI_SYSTEM, "System error"),
)


def _granted(function, *arguments):
    try:
        return call(function, *arguments)
    except PermissionError:
        raise denied(_NOT_GRANTED) from None


class Opened(Link):
    """A socket that the handler opened. Its place is free again when it is closed."""

    def __init__(self, handle):
        super().__init__(handle, None)

    def bind(self, address):
        _granted(network.bind, self.handle, to_contract(address))

    def listen(self, backlog):
        _granted(network.listen, self.handle, backlog)

    def accept(self):
        handle, address = _granted(network.accept, self.handle)
        return Opened(handle), from_contract(address)

    def connect(self, address):
        _granted(network.connect, self.handle, to_contract(address))

    def recvfrom(self, size, flags):
        data, address = call(self.handle.recvfrom, size, flags)
        return data, None if address is None else from_contract(address)

    def sendto(self, data, address):
        return _granted(self.handle.sendto, bytes(data), to_contract(address))

    def close(self):
        if not self.closed:
            super().close()
            self.handle.__exit__(None, None, None)


def open_socket(family, kind, proto):
    return Opened(_granted(network.create_socket, _FAMILIES[family], TYPES[kind], proto))


def open_pair(kind):
    pair = _granted(network.socketpair, types.Family.AF_UNIX, TYPES[kind], 0)
    return [Opened(handle) for handle in pair]


def select(reading, writing, timeout):
    """Wait for links. Return the places of those that are ready, of each list."""
    handles = [[link.handle for link in links] for links in (reading, writing)]
    ready = call(network.select, *handles, [], timeout)
    return ready.readers, ready.writers


def resolved(address, family, kind):
    """Return an address with a number in the place of the name of a host."""
    if not isinstance(address, tuple) or family == AF_UNIX or len(address) < 2:
        return address
    try:
        return names.numeric(address[0], family), *address[1:]
    except names.NotNumeric:
        return getaddrinfo(*address[:2], family, kind)[0][4]


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    try:
        return names.getaddrinfo(host, port, family, type, proto, flags)
    except names.NotNumeric:
        if Phase.building:
            raise
    host = host.decode() if isinstance(host, bytes) else host
    if isinstance(port, (str, bytes)):
        port = port.decode() if isinstance(port, bytes) else port
        port = int(port) if port.isdigit() else names.getservbyname(port)
    service = None if port is None else str(port)
    wanted = (_FAMILIES.get(family), TYPES.get(type))
    try:
        found = network.getaddrinfo(host, service, *wanted, proto, flags & 0x7FFFFFFF)
    except Err as error:
        reason = _LOOKUP_ERRORS[error.value.value]
        raise (names.gaierror(*reason) if reason else denied(_NOT_GRANTED)) from None
    return [
        (
            _number(_FAMILIES, one.family),
            _number(TYPES, one.socket_type),
            one.proto,
            "",
            from_contract(one.address),
        )
        for one in found
    ]


def _number(numbers, case):
    return next(number for number, each in numbers.items() if each == case)


def gethostbyname(name):
    try:
        return names.gethostbyname(name)
    except names.NotNumeric:
        return getaddrinfo(name, None, AF_INET, SOCK_STREAM)[0][4][0]


def gethostbyname_ex(name):
    return name, [], [gethostbyname(name)]
