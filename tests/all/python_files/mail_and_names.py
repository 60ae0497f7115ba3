"""A sink for mail, and a server of names: a protocol of lines, and one of packets."""

import socketserver
import struct
import threading

NAMES = {b"one.test": "192.0.2.1", b"two.test": "192.0.2.2"}


class Mail(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        # These are first needed by a request.
        from email import message_from_bytes, policy

        self.say("220 mail.test")
        sender, recipients = None, []
        for line in self.rfile:
            verb, _, rest = line.decode("ascii", "replace").strip().partition(" ")
            match verb.upper():
                case "HELO" | "EHLO":
                    self.say(f"250 {rest}")
                case "MAIL":
                    sender = rest.partition(":")[2].strip("<>")
                    self.say("250 ok")
                case "RCPT" if sender is None:
                    self.say("503 MAIL first")
                case "RCPT":
                    recipients.append(rest.partition(":")[2].strip("<>"))
                    self.say("250 ok")
                case "DATA":
                    self.say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    message = message_from_bytes(b"".join(lines), policy=policy.default)
                    text = message.get_body().get_content().strip()
                    self.say(f"250 {sender} {recipients} {message['subject']!s} {text!r}")
                case "QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("500 what?")


class Names(socketserver.DatagramRequestHandler):
    def handle(self):
        query = self.rfile.read()
        identity, flags, count = struct.unpack("!HHH", query[:6])
        labels, place = [], 12
        while query[place]:
            length = query[place]
            labels.append(query[place + 1 : place + 1 + length])
            place += 1 + length
        question = query[12 : place + 5]
        address = NAMES.get(b".".join(labels).lower())
        code = 0 if address else 3
        header = struct.pack("!HHHHHH", identity, 0x8400 | code, 1, bool(address), 0, 0)
        self.wfile.write(header + question)
        if address:
            data = bytes(map(int, address.split(".")))
            self.wfile.write(struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + data)


if __name__ == "__main__":
    names = socketserver.UDPServer(("127.0.0.1", 5353), Names)
    thread = threading.Thread(target=names.serve_forever)
    thread.start()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 2525), Mail) as mail:
        try:
            mail.serve_forever()
        finally:
            names.shutdown()
            thread.join()
