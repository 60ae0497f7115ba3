// The types of `network.js`, which has the comments.

import { type Address, Socket as Base } from './socketserver.js';

export const AI_PASSIVE: 1;
export const AI_NUMERICHOST: 4;

/** A socket that a handler opened. */
export class Socket extends Base {
  static open(family: number, type: number, proto?: number): Socket;
  bind(address: Address): void;
  listen(backlog: number): void;
  accept(): [socket: Socket, address: Address];
  /** Connects to an address, not to a name. */
  connect(address: Address): void;
  /** Connects, and returns 0, or the number of the error on Linux. */
  connectEx(address: Address): number;
}

export function socketpair(type?: number): [Socket, Socket];

/** An address of a host and a port. */
export interface AddressInfo {
  family: number;
  type: number;
  proto: number;
  address: Address;
}

export function getaddrinfo(
  name: string | null,
  port: number | string | null,
  family?: number | null,
  type?: number | null,
  proto?: number,
  flags?: number,
): AddressInfo[];

/** Returns the first IPv4 address of a host. */
export function gethostbyname(name: string): string;

/** Connects over TCP. The timeout is in seconds. */
export function createConnection(
  name: string,
  port: number | string,
  timeout?: number | null,
  source?: Address | null,
): Socket;

/** Waits until one of the sockets is ready, or until the timeout in seconds is over. */
export function select<Reader extends Base, Writer extends Base, Exceptional extends Base>(
  readers: Reader[],
  writers: Writer[],
  exceptional: Exceptional[],
  timeout?: number | null,
): { readers: Reader[]; writers: Writer[]; exceptional: Exceptional[] };
