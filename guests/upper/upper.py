"""The handler of Python's documentation: sends the data back, upper-cased."""

from componentize_py_types import Err
from socketserver_guest import handler
from wit_world import exports
from wit_world.imports.sockets import Socket
from wit_world.imports.types import Address


@handler
class StreamRequest(exports.StreamRequest):
    request: Socket

    def setup(self, request: Socket, client_address: Address) -> None:
        # On the class: componentize-py creates a new object for each method.
        StreamRequest.request = request

    def handle(self) -> None:
        try:
            data = self.request.recv(1024).strip()
            self.request.sendall(data.upper())
        except Err as error:
            # The socket raises an ErrorCode. The host expects a text.
            raise Err(error.value.name.lower().replace("_", " ")) from None

    def finish(self) -> None:
        pass
