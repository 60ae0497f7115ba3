"""Answers a word of the client with what the handler gets of the host."""

import logging
import os
import random
import socket
import sys
import time
import uuid

from socketserver_guest import BaseRequestHandler, stream_request


class Probe(BaseRequestHandler):
    def handle(self):
        word, _, argument = self.request.recv(1024).decode().partition(" ")
        try:
            answer = self.answer(word, argument)
        except OSError as error:
            answer = type(error).__name__
        self.request.sendall(str(answer).encode())

    def answer(self, word, argument):
        match word:
            case "random":
                return f"{random.random()} {uuid.uuid4()} {random.SystemRandom().random()}"
            case "time":
                begin = time.monotonic()
                time.sleep(0.01)
                return f"{time.time()} {time.monotonic() - begin}"
            case "environ":
                return sorted(os.environ.items())
            case "argv":
                return sys.argv
            case "read":
                with open(argument) as file:
                    return file.read()
            case "write":
                with open(argument, "w") as file:
                    return file.write("written")
            case "list":
                return os.listdir(argument)
            case "connect":
                return socket.socket().connect(("127.0.0.1", int(argument)))
            case "client":
                host, port = self.client_address
                return f"{host}:{port}"
            case "log":
                logging.warning("logged")
                print("printed", end="")
                return "done"
            case "exit":
                sys.exit()
            case "fail":
                raise ValueError("as asked")


StreamRequest = stream_request(Probe)
