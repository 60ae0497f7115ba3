// Reads and writes its connection as files, in the case that the client names in the first line:
// `files.py` in JavaScript.
import { SocketError, StreamRequestHandler, streamRequest as exported } from 'socketserver';

const text = (bytes) => String.fromCharCode(...bytes);

class Files extends StreamRequestHandler {
  wbufsize = -1;
  timeout = 0.5;
  disableNagleAlgorithm = true;

  handle() {
    this[text(this.rfile.readline(20)).trim()]();
  }

  limit() {
    for (let piece; (piece = this.rfile.readline(5)).length; ) this.wfile.write(`[${text(piece)}]`);
  }

  read() {
    this.wfile.write(`[${text(this.rfile.read(7))}]`);
    this.wfile.write(`[${text(this.rfile.read())}]`);
  }

  large() {
    for (const letter of 'abcdefghij') {
      if (this.wfile.write(letter.repeat(3000)) !== 3000) throw new Error('a short write');
    }
    this.wfile.write('k'.repeat(20000));
  }

  hold() {
    this.wfile.write('first\n');
    for (const _ of this.rfile) break;
    this.wfile.write('second\n');
  }

  flush() {
    this.wfile.write('first\n');
    this.wfile.flush();
    this.rfile.readline();
    this.wfile.write('second\n');
  }

  options() {
    this.wfile.write(`${this.connection.getsockopt(6, 1)} ${this.connection.gettimeout()}\n`);
  }

  error() {
    this.wfile.write('before\n');
    throw new Error('on purpose');
  }

  silence() {
    for (let round = 0; round < 2; round++) {
      try {
        this.rfile.readline();
      } catch (error) {
        this.wfile.write(`${error.message}\n`);
      }
    }
  }

  close() {
    this.wfile.write('bye\n');
    this.wfile.close();
    this.rfile.readline();
  }

  closed() {
    this.wfile.close();
    this.wfile.write('x');
  }

  late() {
    this.wfile.write('ready\n');
    this.wfile.flush();
    try {
      this.rfile.readline();
    } catch (error) {
      if (error instanceof SocketError) this.wfile.write('late\n');
    }
  }
}

export const streamRequest = exported(Files);
