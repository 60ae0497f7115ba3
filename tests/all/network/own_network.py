"""Runs a program in a network of its own, where the caller says what names lead to.

own_network.py PORT NAME=ADDRESS[+ADDRESS...][,ADDRESS...]... -- PROGRAM [ARGUMENT...]

A name leads to the addresses between two commas at one lookup, and to the next ones at the next
lookup; the last ones stay. The IPv4 addresses of the names exist in this network. At each of
them, at PORT and the port after it, a server says the address at which it was reached. The caller
starts this in new user, mount and network namespaces.
"""

import fcntl
import ipaddress
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile

SIOCSIFADDR, SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8916, 0x8913, 0x8914, 1
A, AAAA, IN = 1, 28, 1


def configure_interface(addresses):
    """Gives the loopback interface these addresses, beside its own."""
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("16s24x", b"lo")
    flags, = struct.unpack_from("H", fcntl.ioctl(control, SIOCGIFFLAGS, request), 16)
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))
    for number, address in enumerate(addresses):
        name = b"lo:%d" % number
        packed = struct.pack("HH4s8x", socket.AF_INET, 0, address.packed)
        fcntl.ioctl(control, SIOCSIFADDR, struct.pack("16s16s8x", name, packed))


def configure_names(folder):
    """Makes the C library of this process's descendants ask 127.0.0.1, and no file."""
    for file, content in [
        ("resolv.conf", "nameserver 127.0.0.1\n"),
        ("nsswitch.conf", "hosts: dns\n"),
        ("hosts", ""),
    ]:
        path = os.path.join(folder, file)
        with open(path, "w") as out:
            out.write(content)
        subprocess.run(["mount", "--bind", path, "/etc/" + file], check=True)


def answer(query, names):
    """Returns the answer to a query for addresses (RFC 1035)."""
    end = query.index(b"\0", 12)
    labels, at = [], 12
    while at < end:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind, _ = struct.unpack_from("!HH", query, end + 1)
    lookups = names.get(".".join(labels), [])
    known = lookups[0] if lookups else []
    found = [one.packed for one in known if kind == (A if one.version == 4 else AAAA)]
    # The C library asks for both kinds at the same time.
    if kind == A and len(lookups) > 1:
        del lookups[0]
    code = 0 if lookups else 3
    header = struct.pack("!2sHHHHH", query[:2], 0x8580 | code, 1, len(found), 0, 0)
    question = query[12 : end + 5]
    records = [struct.pack("!HHHIH", 0xC00C, kind, IN, 0, len(one)) + one for one in found]
    return header + question + b"".join(records)


def serve(names, port, ready, parent):
    """Answers queries and connections until the program has ended."""
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    resolver.bind(("127.0.0.1", 53))
    listeners = [socket.create_server(("0.0.0.0", one)) for one in (port, port + 1)]
    program = os.pidfd_open(parent)
    os.close(ready)
    while True:
        readable, _, _ = select.select([program, resolver, *listeners], [], [])
        if program in readable:
            return
        for one in readable:
            if one is resolver:
                query, client = resolver.recvfrom(512)
                resolver.sendto(answer(query, names), client)
            else:
                connection, _ = one.accept()
                connection.sendall(connection.getsockname()[0].encode())
                connection.close()


def main():
    end = sys.argv.index("--")
    port, names = int(sys.argv[1]), {}
    for argument in sys.argv[2:end]:
        name, lookups = argument.split("=")
        addresses = [one.split("+") for one in lookups.split(",")]
        names[name] = [[ipaddress.ip_address(one) for one in each] for each in addresses]
    known = {one for lookups in names.values() for each in lookups for one in each}
    is_new = lambda one: one.version == 4 and not (one.is_loopback or one.is_unspecified)
    configure_interface(filter(is_new, known))
    with tempfile.TemporaryDirectory() as folder:
        configure_names(folder)
    parent = os.getpid()
    is_ready, ready = os.pipe()
    # The program is not to have a child that it does not know.
    if os.fork() == 0:
        if os.fork() == 0:
            os.close(is_ready)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            serve(names, port, ready, parent)
        os._exit(0)
    os.wait()
    os.close(ready)
    os.read(is_ready, 1)
    os.close(is_ready)
    os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])


main()
