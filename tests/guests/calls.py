"""Makes the calls on its socket that the client asks for, a line each, and answers each with a
line: `ok` and the result, or `err` and the error. CPython's reference server runs the same
code."""

import errno
import io

try:
    from socketserver_guest import BaseRequestHandler, stream_request
except ImportError:
    from socketserver import BaseRequestHandler

    stream_request = None


class Unread(io.FileIO):
    """A file that nothing reads: the kernel sends it."""

    def read(self, size=-1):
        raise OSError(errno.EIO, "it is read")

    readinto = readall = read


class Calls(BaseRequestHandler):
    def handle(self):
        with self.request as request:
            while line := self.command():
                name, *arguments = line.split()
                try:
                    answer = f"ok {self.call(request, name, arguments)}"
                except BlockingIOError:
                    answer = "err BlockingIOError"
                except TimeoutError:
                    answer = "err TimeoutError"
                except OSError as error:
                    answer = f"err {errno.errorcode.get(error.errno)}"
                except ValueError:
                    answer = "err ValueError"
                request.settimeout(None) if request.gettimeout() == 0 else None
                request.sendall(f"{answer}\n".encode())
        # The end of `with` has closed the socket.
        assert request.fileno() == -1

    def command(self):
        """Receive a line without a timeout."""
        timeout = self.request.gettimeout()
        self.request.settimeout(None)
        line = b""
        while not line.endswith(b"\n"):
            if not (byte := self.request.recv(1)):
                return ""
            line += byte
        self.request.settimeout(timeout)
        return line.decode()

    def call(self, request, name, arguments):
        text = arguments[0] if arguments else ""
        numbers = [int(word) for word in arguments if word.lstrip("-").isdigit()]
        match name:
            case "recv":
                return request.recv(*numbers).hex()
            case "peek":
                return f"{request.recv(*numbers).hex()} {request.recv(100).hex()}"
            case "recv_into":
                buffer = bytearray(numbers[0])
                return f"{request.recv_into(buffer, 0, *numbers[1:])} {buffer.hex()}"
            case "recvfrom":
                data, address = request.recvfrom(*numbers)
                return f"{data.hex()} {address}"
            case "send":
                return request.send(text.encode(), numbers[-1])
            case "sendall":
                return request.sendall(text.encode(), numbers[-1])
            case "settimeout":
                return request.settimeout(None if text == "None" else float(text))
            case "gettimeout":
                return request.gettimeout()
            case "setblocking":
                return request.setblocking(text == "True")
            case "getblocking":
                return request.getblocking()
            case "getsockopt":
                value = request.getsockopt(*numbers)
                return value if isinstance(value, int) else value.hex()
            case "setsockopt":
                return request.setsockopt(*numbers)
            case "setsockopt_bytes":
                return request.setsockopt(*numbers[:2], bytes.fromhex(arguments[2][1:]))
            case "attributes":
                return f"{request.family.name} {request.type.name} {request.proto}"
            case "names":
                return request.getpeername() == self.client_address
            case "readline":
                buffering = numbers[0] if numbers else None
                with request.makefile(text, buffering) as file:
                    return file.readline().hex()
            case "write":
                buffering = numbers[0] if numbers else None
                with request.makefile(text, buffering) as file:
                    return file.write(b"written ")
            case "sendfile":
                with Unread(text) as file:
                    offset, count = numbers
                    return request.sendfile(file, offset, count if count >= 0 else None)
            case "version":
                return request.version()
            case "cipher":
                cipher = request.cipher()
                return cipher and "{} {} {}".format(*cipher)
            case "alpn":
                return request.selected_alpn_protocol()
            case "peercert":
                certificate = request.getpeercert(binary_form=True)
                return certificate and certificate.hex()
            case "hostname":
                return request.server_hostname
            case "shutdown":
                return request.shutdown(*numbers)


if stream_request:
    StreamRequest = stream_request(Calls)
