"""Looks up the IPv4 addresses of a name. Usage: client.py PORT NAME"""

import socket
import struct
import sys

port, name = int(sys.argv[1]), sys.argv[2].lower()
labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b"."))
question = labels + b"\0" + struct.pack("!HH", 1, 1)  # the type A, the class IN
query = struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0) + question

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(10)
    sock.sendto(query, ("127.0.0.1", port))
    answer = sock.recv(512)

_, flags, _, answers, _, _ = struct.unpack_from("!6H", answer)
if flags & 15:
    sys.exit(f"error {flags & 15}")
place = 12 + len(question)
for _ in range(answers):
    # The name of the record is a pointer of two bytes, because the question has it.
    kind, _, _, length = struct.unpack_from("!HHIH", answer, place + 2)
    data = answer[place + 12 : place + 12 + length]
    print(socket.inet_ntoa(data) if kind == 1 else "an alias")
    place += 12 + length
