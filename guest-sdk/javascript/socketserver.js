// Request handlers for wasm-socketserver in JavaScript, with the classes and names of
// Python's `socketserver` and `socket`: extend `BaseRequestHandler`, `StreamRequestHandler` or
// `DatagramRequestHandler`, and export `streamRequest(Handler)` as `streamRequest`.
//
// Sizes are bytes, times are seconds, data is a `Uint8Array` or a text, which is sent as
// UTF-8. Flags, levels and options are the numbers of Linux.

import { call, encode, ERRORS, SocketError } from './errors.js';
import { concat, Reader, Writer } from './files.js';

export { call, Reader, SocketError, Writer };

export const [AF_UNIX, AF_INET, AF_INET6] = [1, 2, 10];
export const [SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET] = [1, 2, 3, 4, 5];
export const [SHUT_RD, SHUT_WR, SHUT_RDWR] = [0, 1, 2];
export const [MSG_PEEK, MSG_DONTWAIT, MSG_WAITALL, MSG_NOSIGNAL, MSG_MORE] = [0x2, 0x40, 0x100, 0x4000, 0x8000];

// Levels, and the options of each. docs/src/python/socket.md says which can be set.
export const [SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_IPV6] = [1, 0, 6, 41];
export const [SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_BROADCAST, SO_SNDBUF, SO_RCVBUF] = [2, 3, 4, 6, 7, 8];
export const [SO_KEEPALIVE, SO_LINGER, SO_REUSEPORT, SO_ACCEPTCONN, SO_PROTOCOL, SO_DOMAIN] = [9, 13, 15, 30, 38, 39];
export const [IP_TOS, IP_TTL, IPV6_V6ONLY, IPV6_TCLASS] = [1, 2, 26, 67];
export const [TCP_NODELAY, TCP_MAXSEG, TCP_CORK, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT] = [1, 2, 3, 4, 5, 6];
export const [TCP_INFO, TCP_QUICKACK, TCP_USER_TIMEOUT] = [11, 12, 18];

// The families and types of the contract, in its order.
const FAMILIES = [AF_INET, AF_INET6, AF_UNIX];
const FAMILY_NAMES = ['af-inet', 'af-inet6', 'af-unix'];
const TYPES = [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_RDM, SOCK_RAW];
const TYPE_NAMES = ['sock-stream', 'sock-dgram', 'sock-seqpacket', 'sock-rdm', 'sock-raw'];

// Between numbers and the names of the contract, for `network.js`.
export const familyOf = (name) => FAMILIES[FAMILY_NAMES.indexOf(name)];
export const familyName = (family) => FAMILY_NAMES[FAMILIES.indexOf(family)];
export const typeOf = (name) => TYPES[TYPE_NAMES.indexOf(name)];
export const typeName = (type) => TYPE_NAMES[TYPES.indexOf(type)];

// Converts an address from the contract: `{ family, host, port }` for IP, with `flowinfo` and
// `scopeId` for IPv6, and `{ family, path }` for Unix. An abstract name begins with '\0'.
export function addressFrom({ tag, val }) {
  if (tag === 'ipv4') return { family: AF_INET, host: val.host.join('.'), port: val.port };
  if (tag === 'ipv6') {
    const { port, flowinfo, scopeId } = val;
    return { family: AF_INET6, host: compress(val.host), port, flowinfo, scopeId };
  }
  const text = val.val ? String.fromCharCode(...val.val) : '';
  return { family: AF_UNIX, path: val.tag === 'abstract' ? `\0${text}` : text };
}

// Converts an address to the contract. Its host is an address, not a name.
export function addressTo({ host, port, flowinfo = 0, scopeId = 0, path = '' }) {
  const invalid = () => new SocketError(...ERRORS['invalid-argument']);
  if (host === undefined) {
    const bytes = Uint8Array.from(path, (letter) => letter.charCodeAt(0));
    const isAbstract = path.startsWith('\0');
    if (!path) return { tag: 'unix', val: { tag: 'unnamed' } };
    return { tag: 'unix', val: isAbstract ? { tag: 'abstract', val: bytes.subarray(1) } : { tag: 'pathname', val: bytes } };
  }
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(host)) return { tag: 'ipv4', val: { host: host.split('.').map(Number), port } };
  const groups = (text) => (text ? text.split(':').map((group) => parseInt(group, 16)) : []);
  const [head, tail, more] = host.split('::');
  const [start, end] = [groups(head), groups(tail)];
  const zeros = tail === undefined ? 0 : 8 - start.length - end.length;
  const all = [...start, ...Array(Math.max(zeros, 0)).fill(0), ...end];
  if (more !== undefined || all.length !== 8 || !all.every((group) => group >= 0 && group <= 0xffff)) throw invalid();
  return { tag: 'ipv6', val: { host: all, port, flowinfo, scopeId } };
}

// Writes the groups of an IPv6 address, with `::` for the first of the longest runs of zeros.
function compress(groups) {
  const runs = groups.map((_, start) => groups.slice(start).findIndex((group) => group !== 0));
  const lengths = runs.map((length, start) => (length < 0 ? 8 - start : length));
  const longest = Math.max(...lengths);
  const hex = (some) => some.map((group) => group.toString(16)).join(':');
  if (longest < 2) return hex(groups);
  const start = lengths.indexOf(longest);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + longest))}`;
}

// The request socket, or a socket of `network.js`, with the methods of Python's `socket`.
// Methods that fail throw a `SocketError`.
export class Socket {
  // `resource` is the socket in the type of the contract, for functions without a name here.
  constructor(resource) {
    this.resource = resource;
  }

  // Waits for data and returns at most `bufsize` bytes of it: none if the other end has
  // finished sending.
  recv(bufsize, flags = 0) {
    return call(() => (flags ? this.resource.recvWithFlags(bufsize, flags) : this.resource.recv(bufsize)));
  }

  // Receives into a `Uint8Array`, and returns the number of bytes.
  recvInto(buffer, flags = 0) {
    const data = this.recv(buffer.length, flags);
    buffer.set(data);
    return data.length;
  }

  // Returns `[data, address]`. A connection has no address, but null, except that of a Unix
  // socket with a name.
  recvfrom(bufsize, flags = 0) {
    const [data, address] = call(() => this.resource.recvfrom(bufsize, flags));
    return [data, address ? addressFrom(address) : null];
  }

  // Sends as much of `data` as the socket accepts, and returns the number of bytes.
  send(data, flags = 0) {
    return call(() => this.resource.sendWithFlags(encode(data), flags));
  }

  // Sends all of `data`. After an error the number of bytes sent is unknown.
  sendall(data, flags = 0) {
    call(() => this.resource.sendallWithFlags(encode(data), flags));
  }

  // Sends `data` as one datagram: `sendto(data, address)` or `sendto(data, flags, address)`.
  sendto(data, ...rest) {
    const [flags, address] = rest.length > 1 ? rest : [0, rest[0]];
    return call(() => this.resource.sendtoWithFlags(encode(data), flags, addressTo(address)));
  }

  // Shuts down `SHUT_RD`, `SHUT_WR` or `SHUT_RDWR`.
  shutdown(how) {
    call(() => this.resource.shutdown(['shut-rd', 'shut-wr', 'shut-rdwr'][how]));
  }

  // Closes the socket: the other end sees the end of the connection.
  close() {
    this.resource.close();
  }

  getpeername() {
    return addressFrom(call(() => this.resource.getpeername()));
  }

  getsockname() {
    return addressFrom(call(() => this.resource.getsockname()));
  }

  // Sets the timeout of later calls in seconds. With null they wait without limit, with 0 they
  // throw `EAGAIN` instead of waiting.
  settimeout(seconds) {
    call(() => this.resource.settimeout(seconds));
  }

  gettimeout() {
    return this.resource.gettimeout();
  }

  setblocking(flag) {
    this.settimeout(flag ? null : 0);
  }

  getblocking() {
    return this.gettimeout() !== 0;
  }

  // Returns a number, or with `buflen` at most so many bytes.
  getsockopt(level, optname, buflen = 0) {
    return call(() => (buflen ? this.resource.getsockoptBytes(level, optname, buflen) : this.resource.getsockopt(level, optname)));
  }

  // Sets an option to a number or to bytes.
  setsockopt(level, optname, value) {
    const set = typeof value === 'number' ? 'setsockopt' : 'setsockoptBytes';
    call(() => this.resource[set](level, optname, value));
  }

  get family() {
    return familyOf(this.resource.family());
  }

  get type() {
    return typeOf(this.resource.socketType());
  }

  get proto() {
    return this.resource.proto();
  }

  fileno() {
    return this.resource.fileno();
  }
}

// An object of a subclass serves one request. For a datagram `request` is `[data, socket]`.
export class BaseRequestHandler {
  setup() {}
  handle() {}
  finish() {}
}

// A handler that reads and writes a connection as files, `rfile` and `wfile`. A class that
// overrides `setup` or `finish` calls the one of this class, as in Python.
export class StreamRequestHandler extends BaseRequestHandler {
  // The sizes of the buffers. With 0 there is none, below 0 it is that of Python, 8192.
  rbufsize = -1;
  wbufsize = 0;
  // The timeout of the connection in seconds, or null.
  timeout = null;
  // Sends small writes at once (`TCP_NODELAY`).
  disableNagleAlgorithm = false;

  setup() {
    this.connection = this.request;
    if (this.timeout !== null) this.connection.settimeout(this.timeout);
    if (this.disableNagleAlgorithm) this.connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);
    this.rfile = new Reader((size) => this.connection.recv(size), this.rbufsize);
    this.wfile = new Writer(this.connection, this.wbufsize);
  }

  finish() {
    try {
      if (!this.wfile.closed) this.wfile.flush();
    } catch (error) {
      // An error that stays is that of `close`.
      if (!(error instanceof SocketError)) throw error;
    }
    this.wfile.close();
  }
}

// A handler that reads a datagram from `rfile`. `finish` sends what was written to `wfile` as one
// datagram, which is empty if nothing was written. To send no reply, or several, extend
// `BaseRequestHandler`.
export class DatagramRequestHandler extends BaseRequestHandler {
  #reply = [];

  setup() {
    [this.packet, this.socket] = this.request;
    let rest = this.packet;
    this.rfile = new Reader(() => {
      const data = rest;
      rest = new Uint8Array();
      return data;
    });
    this.wfile = new Writer({ sendall: (data) => this.#reply.push(data.slice()) }, 0);
  }

  finish() {
    this.socket.sendto(concat(this.#reply), this.clientAddress);
  }
}

// Returns the export `streamRequest` for a handler class.
export const streamRequest = (Handler) => exported(Handler, (request) => new Socket(request));

// Returns the export `datagramRequest` for a handler class.
export const datagramRequest = (Handler) => exported(Handler, ([data, socket]) => [data, new Socket(socket)]);

function exported(Handler, convert) {
  let handler;
  const step = (name) => () => {
    try {
      handler[name]();
    } catch (error) {
      // The log has one line for an error of the socket, as in the other languages.
      if (!(error instanceof SocketError)) console.error(error);
      throw error instanceof Error ? `${error.code ?? error.name}: ${error.message}` : String(error);
    }
  };
  return {
    setup(request, clientAddress) {
      handler = new Handler();
      handler.request = convert(request);
      handler.clientAddress = addressFrom(clientAddress);
      step('setup')();
    },
    handle: step('handle'),
    finish: step('finish'),
  };
}
