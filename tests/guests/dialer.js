// Does what the lines of its client say with sockets that it opens, and answers each line. A
// new socket takes the place of the last one, which goes on a stack.
import * as socketserver from 'socketserver';
import * as network from 'socketserver/network.js';

const FAMILIES = { inet: socketserver.AF_INET, inet6: socketserver.AF_INET6, unix: socketserver.AF_UNIX };
const TYPES = {
  stream: socketserver.SOCK_STREAM,
  dgram: socketserver.SOCK_DGRAM,
  seqpacket: socketserver.SOCK_SEQPACKET,
  raw: socketserver.SOCK_RAW,
};

function parse(text) {
  if (text.startsWith('@')) return { path: `\0${text.slice(1)}` };
  if (text.startsWith('/')) return { path: text };
  const [, host, port] = text.match(/^\[?(.*?)\]?:(\d+)$/);
  return { host, port: Number(port) };
}

const show = ({ host, port, path }) => path ?? (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

class Dialer extends socketserver.BaseRequestHandler {
  sockets = [];

  handle() {
    for (let line = ''; ; ) {
      const data = this.request.recv(1);
      if (data.length === 0) return;
      line += String.fromCharCode(...data);
      if (!line.endsWith('\n')) continue;
      let answer;
      try {
        answer = this.run(line.trimEnd().split(' ')) ?? 'ok';
      } catch (error) {
        answer = error instanceof socketserver.SocketError ? `E ${error.message}` : `E ${error} ${error.stack}`;
      }
      this.request.sendall(`${answer}\n`);
      line = '';
    }
  }

  run([name, first, second]) {
    const { sockets } = this;
    const last = sockets.at(-1);
    const push = (...more) => void sockets.push(...more);
    switch (name) {
      case 'socket':
        return push(network.Socket.open(FAMILIES[first], TYPES[second]));
      case 'pair':
        return push(...network.socketpair(TYPES[first]));
      case 'swap':
        return push(...sockets.splice(-2).reverse());
      case 'drop':
        return sockets.pop().close();
      case 'close':
        return last.close();
      case 'timeout':
        return last.settimeout(Number(first));
      case 'connect':
        return last.connect(parse(first));
      case 'connect_ex':
        return String(last.connectEx(parse(first)));
      case 'bind':
        return last.bind(parse(first));
      case 'listen':
        return last.listen(5);
      case 'accept': {
        const [connection, peer] = last.accept();
        push(connection);
        return show(peer);
      }
      case 'name':
        return show(last.getsockname());
      case 'peer':
        return show(last.getpeername());
      case 'send':
        return String(last.send(first));
      case 'sendto':
        return String(last.sendto(first, parse(second)));
      case 'recv':
        return String.fromCharCode(...last.recv(1024));
      case 'dial':
        return push(network.createConnection(first, Number(second), 5));
      case 'lookup':
        return network.getaddrinfo(first, 80, null, socketserver.SOCK_STREAM).map((one) => show(one.address)).join(',');
      case 'hostbyname':
        return network.gethostbyname(first);
      case 'select': {
        const ready = network.select(sockets, sockets, [this.request], Number(first));
        const places = (some) => `[${some.map((socket) => sockets.indexOf(socket)).join(', ')}]`;
        return Object.values(ready).map(places).join(' ');
      }
    }
    return 'E there is no such command';
  }
}

export const streamRequest = socketserver.streamRequest(Dialer);
