import socketserver


class C(object):

    def getx(self): return self._x

    def setx(self, value): self._x = value

    def delx(self): del self._x

    x = property(getx, setx, delx, "I'm the 'x' property.")


class D(object):

    @property

    def x(self):

        "I am the 'x' property."

        return self._x

    @x.setter

    def x(self, value):

        self._x = value

    @x.deleter

    def x(self):

        del self._x


# Added: the notes have the classes only.
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        for holder in C(), D():
            holder.x = self.request.recv(3)
            self.request.sendall(holder.x + type(holder).x.__doc__.encode())
            del holder.x
            self.request.sendall(b"%d" % hasattr(holder, "x"))


if __name__ == "__main__":
    socketserver.TCPServer(("localhost", 9999), Handler).serve_forever()
