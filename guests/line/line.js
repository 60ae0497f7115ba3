// Sends one line back: the handler of CPython's own tests of socketserver.
import { StreamRequestHandler, streamRequest as exported } from 'socketserver';

class Line extends StreamRequestHandler {
  handle() {
    const line = this.rfile.readline();
    this.wfile.write(line);
  }
}

export const streamRequest = exported(Line);
