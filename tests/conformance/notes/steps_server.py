import socket

# The notes have the five steps of a server as text.
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.bind(("localhost", 9999))
s.listen()
while True:
    conn, address = s.accept()
    data = conn.recv(1024)
    conn.sendall(data)
    conn.close()
