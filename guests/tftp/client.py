"""Downloads a file over TFTP, and writes it to standard output. Usage: client.py PORT NAME"""

import socket
import struct
import sys

DATA, ACK, ERROR = 3, 4, 5

client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(10)
request = struct.pack("!H", 1) + sys.argv[2].encode() + b"\0octet\0"
client.sendto(request, ("127.0.0.1", int(sys.argv[1])))
wanted = 1
while True:
    packet, transfer = client.recvfrom(516)  # the transfer has a port of its own
    opcode, number = struct.unpack("!HH", packet[:4])
    if opcode == ERROR:
        sys.exit(f"error {number}: {packet[4:-1].decode()}")
    client.sendto(struct.pack("!HH", ACK, number), transfer)
    if opcode == DATA and number == wanted:
        sys.stdout.buffer.write(packet[4:])
        wanted = (wanted + 1) % 65536
        if len(packet) < 516:
            break
