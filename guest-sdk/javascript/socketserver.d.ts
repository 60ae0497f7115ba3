// The types of `socketserver.js`, which has the comments.

export const AF_UNIX: 1;
export const AF_INET: 2;
export const AF_INET6: 10;
export const SOCK_STREAM: 1;
export const SOCK_DGRAM: 2;
export const SOCK_RAW: 3;
export const SOCK_RDM: 4;
export const SOCK_SEQPACKET: 5;
export const SHUT_RD: 0;
export const SHUT_WR: 1;
export const SHUT_RDWR: 2;
export const MSG_PEEK: number;
export const MSG_DONTWAIT: number;
export const MSG_WAITALL: number;
export const MSG_NOSIGNAL: number;
export const MSG_MORE: number;
export const SOL_SOCKET: number;
export const IPPROTO_IP: number;
export const IPPROTO_TCP: number;
export const IPPROTO_IPV6: number;
export const SO_REUSEADDR: number;
export const SO_TYPE: number;
export const SO_ERROR: number;
export const SO_BROADCAST: number;
export const SO_SNDBUF: number;
export const SO_RCVBUF: number;
export const SO_KEEPALIVE: number;
export const SO_LINGER: number;
export const SO_REUSEPORT: number;
export const SO_ACCEPTCONN: number;
export const SO_PROTOCOL: number;
export const SO_DOMAIN: number;
export const IP_TOS: number;
export const IP_TTL: number;
export const IPV6_V6ONLY: number;
export const IPV6_TCLASS: number;
export const TCP_NODELAY: number;
export const TCP_MAXSEG: number;
export const TCP_CORK: number;
export const TCP_KEEPIDLE: number;
export const TCP_KEEPINTVL: number;
export const TCP_KEEPCNT: number;
export const TCP_INFO: number;
export const TCP_QUICKACK: number;
export const TCP_USER_TIMEOUT: number;

/** Bytes, or a text, which is sent as UTF-8. */
export type Data = Uint8Array | string;

/** An address of IP. Those of IPv6 have `flowinfo` and `scopeId`. */
export interface IpAddress {
  family?: 2 | 10;
  /** An address, not a name. */
  host: string;
  port: number;
  flowinfo?: number;
  scopeId?: number;
}

/** An address of a Unix socket. An abstract name begins with `\0`; one without a name is empty. */
export interface UnixAddress {
  family?: 1;
  path: string;
  host?: undefined;
}

export type Address = IpAddress | UnixAddress;

/** The error of a failed call on a socket. */
export class SocketError extends Error {
  constructor(code: string, text: string);
  /** The code of Node.js, such as `ECONNREFUSED`. */
  code: string;
}

/** The request socket, or a socket of `network.js`. Methods that fail throw a `SocketError`. */
export class Socket {
  constructor(resource: unknown);
  /** The socket in the type of the contract. */
  readonly resource: unknown;
  /** Waits for data, and returns none if the other end has finished sending. */
  recv(bufsize: number, flags?: number): Uint8Array;
  /** Returns the number of bytes. */
  recvInto(buffer: Uint8Array, flags?: number): number;
  recvfrom(bufsize: number, flags?: number): [data: Uint8Array, address: Address | null];
  /** Sends as much as the socket accepts, and returns the number of bytes. */
  send(data: Data, flags?: number): number;
  sendall(data: Data, flags?: number): void;
  sendto(data: Data, address: Address): number;
  sendto(data: Data, flags: number, address: Address): number;
  /** Shuts down `SHUT_RD`, `SHUT_WR` or `SHUT_RDWR`. */
  shutdown(how: 0 | 1 | 2): void;
  close(): void;
  getpeername(): Address;
  getsockname(): Address;
  /** Null waits without limit; with 0 a call throws `EAGAIN` instead of waiting. */
  settimeout(seconds: number | null): void;
  gettimeout(): number | null;
  setblocking(flag: boolean): void;
  getblocking(): boolean;
  getsockopt(level: number, optname: number): number;
  /** Returns at most `buflen` bytes. */
  getsockopt(level: number, optname: number, buflen: number): Uint8Array;
  setsockopt(level: number, optname: number, value: number | Uint8Array): void;
  readonly family: number;
  readonly type: number;
  readonly proto: number;
  fileno(): number;
}

/** The request of a handler of datagrams. */
export type Datagram = [data: Uint8Array, socket: Socket];

/**
 * An object of a subclass serves one request: a connection, or with `Datagram` a datagram and the
 * socket to reply on.
 */
export class BaseRequestHandler<Request extends Socket | Datagram = Socket> {
  request: Request;
  clientAddress: Address;
  setup(): void;
  handle(): void;
  finish(): void;
}

/** A file to read bytes from. Iterating over it reads lines. */
export class Reader {
  /** `recv` returns at most `size` bytes, and none at the end. */
  constructor(recv: (size: number) => Uint8Array, size?: number);
  /** Reads a line with its line feed, or at most `limit` bytes of it, or nothing at the end. */
  readline(limit?: number): Uint8Array;
  /** Reads `size` bytes, or all until the end, and fewer only at the end. */
  read(size?: number): Uint8Array;
  [Symbol.iterator](): Generator<Uint8Array, void>;
}

/** A file to write bytes to, or texts, which are written as UTF-8. */
export class Writer {
  constructor(socket: Pick<Socket, 'send' | 'sendall'>, size?: number);
  readonly closed: boolean;
  /** Writes all of `data`, and returns the number of its bytes. */
  write(data: Data): number;
  /** Sends what is in the buffer. */
  flush(): void;
  /** Sends what is in the buffer, and refuses later writes. */
  close(): void;
}

/** A handler that reads and writes a connection as files. */
export class StreamRequestHandler extends BaseRequestHandler<Socket> {
  /** The sizes of the buffers: 0 for none, below 0 for 8192. */
  rbufsize: number;
  wbufsize: number;
  /** The timeout of the connection in seconds, or null. */
  timeout: number | null;
  disableNagleAlgorithm: boolean;
  connection: Socket;
  rfile: Reader;
  wfile: Writer;
}

/** A handler that reads a datagram from a file, and whose `finish` sends what was written. */
export class DatagramRequestHandler extends BaseRequestHandler<Datagram> {
  packet: Uint8Array;
  socket: Socket;
  rfile: Reader;
  wfile: Writer;
}

/** What the module of a handler exports. */
export interface Export {
  setup(request: unknown, clientAddress: unknown): void;
  handle(): void;
  finish(): void;
}

/** Returns the export `streamRequest` for a handler class. */
export function streamRequest(Handler: new () => BaseRequestHandler<Socket>): Export;

/** Returns the export `datagramRequest` for a handler class. */
export function datagramRequest(Handler: new () => BaseRequestHandler<Datagram>): Export;
