"""Has the kernel send the file `/files/file`."""

from socketserver_guest import BaseRequestHandler, stream_request


class Sender(BaseRequestHandler):
    def handle(self):
        with open("/files/file", "rb") as file:
            self.request.sendfile(file)


StreamRequest = stream_request(Sender)
