"""A WSGI application in the server of wsgiref, with its checks."""

from wsgiref.simple_server import make_server, WSGIRequestHandler
from wsgiref.util import request_uri, setup_testing_defaults
from wsgiref.validate import validator


@validator
def application(environ, start_response):
    setup_testing_defaults(environ)
    if environ["PATH_INFO"] == "/fail":
        raise RuntimeError("as asked")
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    lines = [
        environ["REQUEST_METHOD"],
        environ["PATH_INFO"],
        environ["QUERY_STRING"],
        environ["SERVER_PROTOCOL"],
        environ["REMOTE_ADDR"],
        environ.get("HTTP_X_WORD", "none"),
        str(body),
    ]
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{line}\n".encode() for line in lines]


class Quiet(WSGIRequestHandler):
    def log_message(self, format, *args):
        pass


if __name__ == "__main__":
    with make_server("", 8000, application, handler_class=Quiet) as httpd:
        print("Serving on port 8000...")
        httpd.serve_forever()
