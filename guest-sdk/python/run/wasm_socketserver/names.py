"""Names of hosts and services. No name is looked up here: only addresses and `localhost` are
known."""

import struct

from .constants import *

SERVICES = {
    "echo": 7, "discard": 9, "daytime": 13, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25,
    "time": 37, "domain": 53, "tftp": 69, "finger": 79, "http": 80, "pop3": 110, "ntp": 123,
    "imap2": 143, "snmp": 161, "ldap": 389, "https": 443, "syslog": 514,
}
PROTOCOLS = {"ip": 0, "icmp": 1, "tcp": 6, "udp": 17, "ipv6": 41}


class gaierror(OSError):
    pass


class NotNumeric(gaierror):
    """The host is a name that has to be looked up."""


class herror(OSError):
    pass


def inet_pton(family, text):
    if family == AF_INET:
        parts = text.split(".")
        if len(parts) == 4 and all(part.isascii() and part.isdigit() for part in parts):
            numbers = [int(part) for part in parts]
            if all(number < 256 for number in numbers):
                return bytes(numbers)
    elif family == AF_INET6:
        packed = _ipv6(text)
        if packed is not None:
            return packed
    else:
        raise OSError(97, "unknown address family")
    raise OSError("illegal IP address string passed to inet_pton")


def _ipv6(text):
    head, double, tail = text.partition("::")
    if "::" in tail or (not double and text.count(":") != 7 and "." not in text):
        return None
    halves = []
    for half in (head, tail):
        groups = b""
        parts = half.split(":") if half else []
        for place, part in enumerate(parts):
            if "." in part and place == len(parts) - 1:
                try:
                    groups += inet_pton(AF_INET, part)
                except OSError:
                    return None
            elif 0 < len(part) <= 4 and all(c in "0123456789abcdefABCDEF" for c in part):
                groups += int(part, 16).to_bytes(2)
            else:
                return None
        halves.append(groups)
    missing = 16 - len(halves[0]) - len(halves[1])
    if missing < (2 if double else 0) or (missing and not double):
        return None
    return halves[0] + bytes(missing) + halves[1]


def inet_ntop(family, packed):
    packed = bytes(packed)
    if family == AF_INET and len(packed) == 4:
        return "%d.%d.%d.%d" % tuple(packed)
    if family != AF_INET6 or len(packed) != 16:
        raise ValueError("invalid length of packed IP address string")
    if packed[:12] == bytes(10) + b"\xff\xff":
        return "::ffff:" + inet_ntop(AF_INET, packed[12:])
    groups = struct.unpack("!8H", packed)
    best, place = (0, 0), 0
    while place < 8:
        length = 0
        while place + length < 8 and groups[place + length] == 0:
            length += 1
        if length > best[1]:
            best = (place, length)
        place += length + 1
    texts = [f"{group:x}" for group in groups]
    if best[1] < 2:
        return ":".join(texts)
    begin, end = best[0], sum(best)
    return ":".join(texts[:begin]) + "::" + ":".join(texts[end:])


def inet_aton(text):
    parts = text.split(".")
    try:
        numbers = [int(part, 0) for part in parts]
        last = numbers.pop()
        packed = bytes(numbers) + last.to_bytes(5 - len(parts))
    except (ValueError, OverflowError):
        raise OSError("illegal IP address string passed to inet_aton") from None
    return packed


def inet_ntoa(packed):
    if len(packed) != 4:
        raise OSError("packed IP wrong length")
    return inet_ntop(AF_INET, packed)


def _swap16(number):
    return int.from_bytes(number.to_bytes(2), "little")


def _swap32(number):
    return int.from_bytes(number.to_bytes(4), "little")


htons = ntohs = _swap16
htonl = ntohl = _swap32


def family_of(host):
    """Return the family of a numeric address."""
    for family in (AF_INET, AF_INET6):
        try:
            inet_pton(family, host.partition("%")[0])
            return family
        except OSError:
            pass
    return None


def numeric(host, family=AF_UNSPEC):
    """Return the numeric address of a host, if it needs no look-up."""
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii")
    if host == "":
        return "::" if family == AF_INET6 else "0.0.0.0"
    if host == "<broadcast>":
        return "255.255.255.255"
    if host == "<any>":
        return "0.0.0.0"
    if host.lower() in ("localhost", "localhost.localdomain", "ip6-localhost"):
        return "::1" if family == AF_INET6 else "127.0.0.1"
    if family_of(host) is None:
        raise NotNumeric(
            EAI_NONAME,
            f"the name `{host}` is not looked up here: write a numeric address",
        )
    return host


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    if isinstance(port, (str, bytes)):
        port = port.decode() if isinstance(port, bytes) else port
        port = int(port) if port.isdigit() else getservbyname(port)
    port = port or 0
    if host is None or host == "":
        any_host = bool(flags & AI_PASSIVE)
        hosts = [(AF_INET, "0.0.0.0" if any_host else "127.0.0.1"),
                 (AF_INET6, "::" if any_host else "::1")]
    elif host == "localhost":
        hosts = [(AF_INET, "127.0.0.1"), (AF_INET6, "::1")]
    else:
        host = numeric(host, family)
        hosts = [(family_of(host), host)]
    answers = []
    for each, host in hosts:
        if family not in (AF_UNSPEC, each):
            continue
        address = (host, port) if each == AF_INET else (host, port, 0, 0)
        for kind, protocol in ((SOCK_STREAM, IPPROTO_TCP), (SOCK_DGRAM, IPPROTO_UDP)):
            if type in (0, kind) and proto in (0, protocol):
                answers.append((each, kind, protocol, "", address))
    if not answers:
        raise gaierror(EAI_NONAME, "Name or service not known")
    return answers


def gethostname():
    return "localhost"


def gethostbyname(name):
    return numeric(name, AF_INET)


def gethostbyname_ex(name):
    return name, [], [gethostbyname(name)]


def gethostbyaddr(host):
    if host in ("127.0.0.1", "::1", "localhost"):
        return "localhost", [], ["127.0.0.1" if host == "localhost" else host]
    raise herror(1, "Unknown host")


def getnameinfo(address, flags):
    return numeric(address[0]), str(address[1])


def getservbyname(name, protocol=None):
    if name not in SERVICES:
        raise OSError("service/proto not found")
    return SERVICES[name]


def getservbyport(port, protocol=None):
    for name, number in SERVICES.items():
        if number == port:
            return name
    raise OSError("port/proto not found")


def getprotobyname(name):
    if name not in PROTOCOLS:
        raise OSError("protocol not found")
    return PROTOCOLS[name]
