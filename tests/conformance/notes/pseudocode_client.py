import socket

# The notes have this as pseudocode, with the address 1.2.3.4 and the port 80.
sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
sock.connect(("localhost", 9999))
sock.send(b"Hello, world!")
sock.close()
