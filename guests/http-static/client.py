"""Downloads a file in parts of 64 KiB, over one connection, and writes it to standard output.
Usage: client.py PORT PATH"""

import http.client
import sys

PART = 65536

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("HEAD", sys.argv[2])
response = connection.getresponse()
response.read()
if response.status != 200:
    sys.exit(f"{response.status} {response.reason}")
length = int(response.headers["Content-Length"])
for first in range(0, length, PART):
    headers = {"Range": f"bytes={first}-{first + PART - 1}"}
    connection.request("GET", sys.argv[2], headers=headers)
    response = connection.getresponse()
    assert response.status == 206, response.status
    sys.stdout.buffer.write(response.read())
