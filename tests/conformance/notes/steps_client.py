import socket

# The notes have the three steps of a client as text.
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect(("localhost", 9999))
s.sendall(b"steps")
print(s.recv(1024))
s.close()
