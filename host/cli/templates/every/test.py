"""Serves the handler at a free port, and checks its answer to one request."""

import os
import socket
import subprocess
import sys

host = os.environ.get("WASM_SOCKETSERVER", "wasm-socketserver")
here = os.path.dirname(os.path.abspath(__file__))
command = [host, "{{command}}", "{{target}}", "--bind", "{{scheme}}://127.0.0.1:0"]
with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True) as server:
    try:
        line = server.stdout.readline()  # listening {{scheme}}://127.0.0.1:PORT
        if not line:
            sys.exit("the server did not start")
        port = int(line.split("?")[0].rsplit(":", 1)[1])
        with socket.socket(socket.AF_INET, socket.{{kind}}) as client:
            client.settimeout(30)
            client.connect(("127.0.0.1", port))
            client.sendall(b"hello world\n")
            answer = client.recv(1024).strip()
    finally:
        server.terminate()
assert answer == b"HELLO WORLD", answer
print("ok")
