"""Asks for the time, and prints it. Usage: client.py PORT"""

import socket
import struct
import sys
import time

SECONDS_TO_1970 = 2208988800

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(10)
    sock.sendto(b"", ("127.0.0.1", int(sys.argv[1])))
    (seconds,) = struct.unpack("!I", sock.recv(4))
    print(time.ctime(seconds - SECONDS_TO_1970))
