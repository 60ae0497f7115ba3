"""Addresses of the contract, and of Python."""

import os

from wit_world.imports import socketserver_handler_types as types

from .constants import AF_INET, AF_INET6
from .names import inet_ntop, inet_pton, numeric


def from_contract(address):
    """Return an address as Python has it."""
    value = address.value
    if isinstance(address, types.Address_Ipv4):
        return "%d.%d.%d.%d" % value.host, value.port
    if isinstance(address, types.Address_Ipv6):
        packed = b"".join([group.to_bytes(2) for group in value.host])
        host = inet_ntop(AF_INET6, packed)
        return host, value.port, value.flowinfo, value.scope_id
    if isinstance(value, types.UnixAddress_Pathname):
        return os.fsdecode(value.value)
    if isinstance(value, types.UnixAddress_Abstract):
        return b"\0" + value.value
    return ""


def to_contract(address):
    """Return an address of Python as the contract has it."""
    if isinstance(address, (str, bytes, bytearray)):
        path = os.fsencode(bytes(address) if isinstance(address, bytearray) else address)
        if not path:
            return types.Address_Unix(types.UnixAddress_Unnamed())
        if path[0] == 0:
            return types.Address_Unix(types.UnixAddress_Abstract(path[1:]))
        return types.Address_Unix(types.UnixAddress_Pathname(path))
    if not isinstance(address, tuple) or len(address) < 2:
        raise TypeError(f"an address must be a tuple, not {type(address).__name__}")
    host, port = address[:2]
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise OverflowError("sendto(): port must be 0-65535.")
    flowinfo, scope = (*address[2:4], 0, 0)[:2]
    host = numeric(host)
    if ":" in host:
        packed = inet_pton(AF_INET6, host)
        groups = tuple(int.from_bytes(packed[i : i + 2]) for i in range(0, 16, 2))
        return types.Address_Ipv6(types.Ipv6Address(groups, port, flowinfo, scope))
    packed = inet_pton(AF_INET, host)
    return types.Address_Ipv4(types.Ipv4Address(tuple(packed), port))
