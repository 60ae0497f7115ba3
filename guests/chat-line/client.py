"""Sends the lines of standard input, and prints the answer to each. Usage: client.py PORT"""

import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as sock:
    with sock.makefile("r", encoding="utf-8", newline="\n") as answers:
        for line in sys.stdin:
            sock.sendall(line.encode())
            print(answers.readline(), end="")
