import socket

sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
sock.bind(("0.0.0.0", 12800))
sock.listen(2)
while True:
   conn, sockname = sock.accept()
   break  # Added: without it the program never comes to the next line.

print(f"Now, We have accepted aconnection from:{sockname}")
print(f"Socket Name is: {conn.getsockname()}")
print(f"Socket Peer is: {conn.getpeername()}")
message = conn.recv(1024)
print(f"The message we have received is:\n {message}")
