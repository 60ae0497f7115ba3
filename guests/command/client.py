"""The client of the notes: sends the commands of standard input, and prints the output of each.
Usage: client.py PORT"""

import socket
import sys

client = socket.socket()
client.connect(("127.0.0.1", int(sys.argv[1])))

for msg in sys.stdin:
    msg = msg.strip()
    if len(msg) == 0:
        continue
    client.send(msg.encode("utf-8"))
    res_return_size = client.recv(1024)  # the length of the output
    if not res_return_size:
        sys.exit("the server has closed the connection")
    total_rece_size = int(res_return_size)
    client.send("准备好接收了".encode("utf-8"))  # the acknowledgement
    received_size = 0
    cmd_res = b""
    while received_size < total_rece_size:
        data = client.recv(1024)
        if not data:
            sys.exit("the server has closed the connection")
        received_size += len(data)
        cmd_res += data
    print(cmd_res.decode(errors="replace"))
client.close()
