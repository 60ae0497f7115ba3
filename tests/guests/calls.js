// Makes the calls on its socket that the client asks for, a line each, and answers each with
// a line: `ok` and the result as Python prints it, or `err` and the error.
import * as socketserver from 'socketserver';
import { File, sendfile } from 'socketserver/sendfile.js';
import * as tls from 'socketserver/tls.js';

const NAMES = { EAGAIN: 'BlockingIOError', ETIMEDOUT: 'TimeoutError' };
const hex = (data) => Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');
const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (digits) => parseInt(digits, 16));

// Returns a value as Python prints it.
function python(value) {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return value instanceof Uint8Array ? hex(value) : String(value);
}

class Calls extends socketserver.BaseRequestHandler {
  handle() {
    for (let line; (line = this.command()); ) {
      let answer;
      try {
        answer = `ok ${python(this.call(line.split(/\s+/)))}\n`;
      } catch (error) {
        if (!(error instanceof socketserver.SocketError)) throw error;
        answer = `err ${NAMES[error.code] ?? error.code}\n`;
      }
      if (!this.request.getblocking()) this.request.settimeout(null);
      this.request.sendall(answer);
    }
  }

  // Receives a line without a timeout. It is empty at the end.
  command() {
    const timeout = this.request.gettimeout();
    this.request.settimeout(null);
    let line = '';
    while (!line.endsWith('\n')) {
      const data = this.request.recv(1);
      if (data.length === 0) return '';
      line += String.fromCharCode(...data);
    }
    this.request.settimeout(timeout);
    return line;
  }

  call([name, text, ...rest]) {
    const { request } = this;
    const numbers = [text, ...rest].filter((word) => /^-?\d+$/.test(word)).map(Number);
    switch (name) {
      case 'recv':
        return request.recv(...numbers);
      case 'peek':
        return `${hex(request.recv(...numbers))} ${hex(request.recv(100))}`;
      case 'recv_into': {
        const buffer = new Uint8Array(numbers[0]);
        return `${request.recvInto(buffer, numbers[1])} ${hex(buffer)}`;
      }
      case 'recvfrom': {
        const [data, address] = request.recvfrom(...numbers);
        return `${hex(data)} ${python(address)}`;
      }
      case 'send':
        return request.send(text, numbers[0]);
      case 'sendall':
        return request.sendall(text, numbers[0]);
      case 'settimeout':
        return request.settimeout(text === 'None' ? null : Number(text));
      case 'gettimeout':
        return request.gettimeout();
      case 'setblocking':
        return request.setblocking(text === 'True');
      case 'getblocking':
        return request.getblocking();
      case 'getsockopt':
        return request.getsockopt(...numbers);
      case 'setsockopt':
        return request.setsockopt(...numbers);
      case 'setsockopt_bytes':
        return request.setsockopt(...numbers.slice(0, 2), fromHex(rest[1].slice(1)));
      case 'attributes': {
        const isTcp = request.family === socketserver.AF_INET && request.type === socketserver.SOCK_STREAM;
        return isTcp ? `AF_INET SOCK_STREAM ${request.proto}` : 'another kind of socket';
      }
      case 'names':
        return JSON.stringify(request.getpeername()) === JSON.stringify(this.clientAddress);
      case 'sendfile':
        return sendfile(request, File.open(text), numbers[0], numbers[1] < 0 ? null : numbers[1]);
      case 'version':
        return tls.version(request);
      case 'cipher':
        return tls.cipher(request)?.join(' ');
      case 'alpn':
        return tls.selectedAlpnProtocol(request);
      case 'peercert':
        return tls.getpeercert(request);
      case 'hostname':
        return tls.serverHostname(request);
      case 'shutdown':
        return request.shutdown(numbers[0]);
    }
  }
}

export const streamRequest = socketserver.streamRequest(Calls);
