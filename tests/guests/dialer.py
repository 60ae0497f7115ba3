"""Does what the lines of its client say with sockets that it opens, and answers each line. A new
socket takes the place of the last one, which goes on a stack."""

from socketserver_guest import BaseRequestHandler, stream_request
import socketserver_network as network

FAMILIES = {"inet": network.AF_INET, "inet6": network.AF_INET6, "unix": network.AF_UNIX}
TYPES = {
    "stream": network.SOCK_STREAM,
    "dgram": network.SOCK_DGRAM,
    "seqpacket": network.SOCK_SEQPACKET,
    "raw": network.SOCK_RAW,
}


def parse(text):
    if text.startswith("@"):
        return b"\0" + text[1:].encode()
    if text.startswith("/"):
        return text
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def show(address):
    if not isinstance(address, tuple):
        return address
    host, port, *_ = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Dialer(BaseRequestHandler):
    def handle(self):
        self.sockets = []
        with self.request.makefile("r") as lines:
            for line in lines:
                try:
                    answer = self.run(*line.split())
                except OSError as error:
                    answer = f"E {error.strerror}"
                self.request.sendall(f"{'ok' if answer is None else answer}\n".encode())

    def run(self, name, first=None, second=None):
        sockets = self.sockets
        last = sockets[-1] if sockets else None
        match name:
            case "socket":
                sockets.append(network.socket(FAMILIES[first], TYPES[second]))
            case "pair":
                sockets.extend(network.socketpair(type=TYPES[first]))
            case "swap":
                sockets[-2:] = sockets[-1], sockets[-2]
            case "drop":
                sockets.pop().close()
            case "close":
                last.close()
            case "timeout":
                last.settimeout(float(first))
            case "connect":
                last.connect(parse(first))
            case "connect_ex":
                return str(last.connect_ex(parse(first)))
            case "bind":
                last.bind(parse(first))
            case "listen":
                last.listen(5)
            case "accept":
                connection, peer = last.accept()
                sockets.append(connection)
                return show(peer)
            case "name":
                return show(last.getsockname())
            case "peer":
                return show(last.getpeername())
            case "send":
                return str(last.send(first.encode()))
            case "sendto":
                return str(last.sendto(first.encode(), parse(second)))
            case "recv":
                return last.recv(1024).decode()
            case "dial":
                sockets.append(network.create_connection((first, int(second)), 5))
            case "lookup":
                found = network.getaddrinfo(first, 80, type=network.SOCK_STREAM)
                return ",".join(show(address) for *_, address in found)
            case "hostbyname":
                return network.gethostbyname(first)
            case "select":
                found = network.select(sockets, sockets, [self.request], float(first))
                return " ".join(str([sockets.index(one) for one in ready]) for ready in found)
            case _:
                return "E there is no such command"


StreamRequest = stream_request(Dialer)
