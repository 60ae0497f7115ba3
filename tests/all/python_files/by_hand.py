"""A server without socketserver. It cannot be built."""

import socket

server = socket.create_server(("127.0.0.1", 9999))
while True:
    connection, address = server.accept()
    with connection:
        connection.sendall(connection.recv(1024).upper())
