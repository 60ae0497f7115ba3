// Sockets that a handler opens: the functions of Python's `socket` that reach beyond the
// request, and `select`.
//
// The operator grants addresses with --connect, --listen-grant, --resolve and --raw.
// Everything else throws a `SocketError` with the code `EACCES`, and the log of the host names
// the option that would permit it. A handler imports the interface `network` only if it
// imports this module.

import * as host from 'socketserver:handler/network@0.1.0';
import { addressFrom, addressTo, call, familyName, familyOf, Socket as Base, SocketError, SOCK_STREAM, AF_INET, typeName, typeOf } from './socketserver.js';

export const [AI_PASSIVE, AI_NUMERICHOST] = [1, 4];

const known = (name, code, text) => {
  if (name === undefined) throw new SocketError(code, text);
  return name;
};
const toFamily = (family) => known(familyName(family), 'EAFNOSUPPORT', 'address family not supported by protocol');
const toType = (type) => known(typeName(type), 'EINVAL', 'invalid argument');

// A socket that a handler opened. It has all methods of the request socket too.
export class Socket extends Base {
  // Opens a socket, such as `Socket.open(AF_INET, SOCK_STREAM)`.
  static open(family, type, proto = 0) {
    return new Socket(call(() => host.createSocket(toFamily(family), toType(type), proto)));
  }

  // Gives the socket a local address. Port 0 stands for any free one.
  bind(address) {
    call(() => host.bind(this.resource, addressTo(address)));
  }

  // Lets others connect to the socket.
  listen(backlog) {
    call(() => host.listen(this.resource, backlog));
  }

  // Waits for a connection to a socket that listens. Returns `[socket, address]`.
  accept() {
    const [connection, address] = call(() => host.accept(this.resource));
    return [new Socket(connection), addressFrom(address)];
  }

  // Connects the socket to an address, not to a name. With a timeout of 0 it throws
  // `EINPROGRESS`.
  connect(address) {
    call(() => host.connect(this.resource, addressTo(address)));
  }

  // Connects, and returns 0, or the number of the error on Linux.
  connectEx(address) {
    return host.connectEx(this.resource, addressTo(address));
  }
}

// Opens two Unix sockets that are connected to each other.
export function socketpair(type = SOCK_STREAM) {
  return call(() => host.socketpair('af-unix', toType(type), 0)).map((one) => new Socket(one));
}

// The codes of Node.js and the texts for the cases of `lookup-error`.
const LOOKUP_ERRORS = {
  denied: ['EACCES', 'permission denied'],
  again: ['EAI_AGAIN', 'temporary failure in name resolution'],
  badflags: ['EAI_BADFLAGS', 'bad value for ai_flags'],
  fail: ['EAI_FAIL', 'non-recoverable failure in name resolution'],
  family: ['EAI_FAMILY', 'ai_family not supported'],
  memory: ['EAI_MEMORY', 'memory allocation failure'],
  noname: ['ENOTFOUND', 'name or service not known'],
  service: ['EAI_SERVICE', 'service not supported for ai_socktype'],
  socktype: ['EAI_SOCKTYPE', 'ai_socktype not supported'],
  system: ['EAI_SYSTEM', 'system error'],
};

// Returns the addresses of a host and a port as `{ family, type, proto, address }`. A host, a
// port, a family and a type may be null.
export function getaddrinfo(name, port, family = null, type = null, proto = 0, flags = 0) {
  const service = port === null ? null : String(port);
  const [wantedFamily, wantedType] = [family && toFamily(family), type && toType(type)];
  let found;
  try {
    found = host.getaddrinfo(name, service, wantedFamily, wantedType, proto, flags);
  } catch (error) {
    const [code, text] = LOOKUP_ERRORS[error?.payload] ?? [];
    throw code ? new SocketError(code, text) : error;
  }
  return found.map((one) => ({
    family: familyOf(one.family),
    type: typeOf(one.socketType),
    proto: one.proto,
    address: addressFrom(one.address),
  }));
}

// Returns the first IPv4 address of a host, as a text.
export function gethostbyname(name) {
  const [first] = getaddrinfo(name, null, AF_INET, SOCK_STREAM);
  if (!first) throw new SocketError(...LOOKUP_ERRORS.noname);
  return first.address.host;
}

// Connects to a host and a port over TCP: looks the host up, and tries each of its addresses
// until one answers. Each attempt has the timeout in seconds, which is that of the socket then.
// `source` is the local address. Throws the error of the last attempt.
export function createConnection(name, port, timeout = null, source = null) {
  let last = new SocketError(...LOOKUP_ERRORS.noname);
  for (const { family, type, proto, address } of getaddrinfo(name, port, null, SOCK_STREAM)) {
    let socket;
    try {
      socket = Socket.open(family, type, proto);
      socket.settimeout(timeout);
      if (source) socket.bind(source);
      socket.connect(address);
      return socket;
    } catch (error) {
      socket?.close();
      last = error;
    }
  }
  throw last;
}

// Waits until one of the sockets is ready, or until the timeout in seconds is over. With null
// it waits as long as the request may. The request socket may be one of them. Returns
// `{ readers, writers, exceptional }`, the sockets that are ready.
export function select(readers, writers, exceptional, timeout = null) {
  const lists = { readers, writers, exceptional };
  const resources = Object.values(lists).map((sockets) => sockets.map((socket) => socket.resource));
  const ready = call(() => host.select(...resources, timeout));
  return Object.fromEntries(
    Object.entries(lists).map(([name, sockets]) => [name, Array.from(ready[name], (place) => sockets[place])]),
  );
}
