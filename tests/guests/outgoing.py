"""Opens sockets with Python's own library, on `wasi:sockets`. The client says how, and where to."""

import asyncio
import encodings.idna
import encodings.punycode
import http.client
import socket

import socketserver_guest as socketserver


def by_socket(host, port):
    """Connects, sends, and reads to the end."""
    with socket.create_connection((host, port)) as connection:
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


def by_asyncio(host, port):
    async def talk():
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"hello")
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    return asyncio.run(talk())


def by_http(host, port):
    connection = http.client.HTTPConnection(host, port)
    connection.request("GET", "/hello")
    return connection.getresponse().read()


def by_datagram(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.sendto(b"hello", (host, port))
        return datagrams.recvfrom(1024)[0]


def timed(host, port):
    """Waits for an answer that does not come, with a timeout."""
    with socket.create_connection((host, port)) as connection:
        connection.settimeout(0.05)
        return connection.recv(1)


def by_name(host, port):
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return " ".join(sorted(address[0] for *_, address in found)).encode()


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        how, host, port = self.request.recv(1024).decode().split()
        try:
            answer = globals()[how](host, int(port))
        except Exception as error:
            answer = f"{type(error).__name__} {error}".encode()
        self.request.sendall(answer)


StreamRequest = socketserver.stream_request(Handler)
