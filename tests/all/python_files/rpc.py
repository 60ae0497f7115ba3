"""The server of xmlrpc in CPython's documentation, with more functions."""

import datetime
import decimal
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer


# Restrict to a particular path.
class RequestHandler(SimpleXMLRPCRequestHandler):
    rpc_paths = ('/RPC2',)


# Create server
with SimpleXMLRPCServer(('localhost', 8000), requestHandler=RequestHandler, allow_none=True) as server:
    server.register_introspection_functions()

    # Register pow() function; this will use the value of
    # pow.__name__ as the name, which is just 'pow'.
    server.register_function(pow)

    # Register a function under a different name
    @server.register_function(name='add')
    def adder_function(x, y):
        return x + y

    # Register a function under function.__name__.
    @server.register_function
    def mul(x, y):
        return x * y

    @server.register_function
    def day(text):
        return datetime.datetime.strptime(text, "%d.%m.%Y").strftime("%A")

    @server.register_function
    def exact(text):
        return str(decimal.Decimal(text) / 3)

    @server.register_function
    def fail():
        raise KeyError("as asked")

    # Run the server's main loop
    server.serve_forever()
