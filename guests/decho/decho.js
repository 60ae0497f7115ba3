// Sends each datagram back; reads and writes it as files.
import { DatagramRequestHandler, datagramRequest as exported } from 'socketserver';

class Echo extends DatagramRequestHandler {
  handle() {
    this.wfile.write(this.rfile.read());
  }
}

export const datagramRequest = exported(Echo);
