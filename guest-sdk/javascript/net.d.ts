// The types of `net.js`, which has the comments.

import { type Export } from './socketserver.js';

/** An encoding of texts. */
export type Encoding = 'utf8' | 'utf-8' | 'latin1' | 'binary' | 'ascii' | 'hex';

/** Bytes whose `toString` is that of a `Buffer` of Node.js. */
export class Buffer extends Uint8Array {
  static from(value: string, encoding?: Encoding): Buffer;
  static from(value: ArrayLike<number> | Iterable<number>): Buffer;
  static concat(list: Uint8Array[]): Buffer;
  toString(encoding?: Encoding, start?: number, end?: number): string;
}

type Listener = (this: any, ...values: any[]) => void;

interface EventEmitter {
  on(event: string, listener: Listener): this;
  once(event: string, listener: Listener): this;
  off(event: string, listener: Listener): this;
  addListener(event: string, listener: Listener): this;
  removeListener(event: string, listener: Listener): this;
  removeAllListeners(event: string): this;
  listeners(event: string): Listener[];
  listenerCount(event: string): number;
  emit(event: string, ...values: unknown[]): boolean;
}

/** A connection. */
export interface Socket extends EventEmitter {
  on(event: 'data', listener: (data: Buffer & string) => void): this;
  on(event: 'end' | 'finish' | 'timeout', listener: () => void): this;
  on(event: 'error', listener: (error: Error & { code?: string }) => void): this;
  on(event: 'close', listener: (hadError: boolean) => void): this;
  on(event: string, listener: Listener): this;
  readonly allowHalfOpen: boolean;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly destroyed: boolean;
  readonly readableEnded: boolean;
  readonly writableEnded: boolean;
  readonly readyState: 'open' | 'readOnly' | 'writeOnly' | 'closed';
  readonly timeout: number;
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  readonly remoteFamily?: 'IPv4' | 'IPv6';
  readonly localAddress?: string;
  readonly localPort?: number;
  readonly localFamily?: 'IPv4' | 'IPv6';
  address(): { address?: string; family?: 'IPv4' | 'IPv6'; port?: number };
  setEncoding(encoding?: Encoding): this;
  setNoDelay(noDelay?: boolean): this;
  setKeepAlive(enable?: boolean, initialDelay?: number): this;
  setTimeout(milliseconds: number, listener?: () => void): this;
  pause(): this;
  resume(): this;
  isPaused(): boolean;
  write(data: Uint8Array | string, callback?: (error?: Error) => void): boolean;
  write(data: Uint8Array | string, encoding?: Encoding, callback?: (error?: Error) => void): boolean;
  end(callback?: () => void): this;
  end(data: Uint8Array | string, callback?: () => void): this;
  end(data: Uint8Array | string, encoding?: Encoding, callback?: () => void): this;
  destroySoon(): this;
  destroy(error?: Error | null): this;
}

export interface ServerOptions {
  /** True if the end of the client does not end this side, too. */
  allowHalfOpen?: boolean;
  pauseOnConnect?: boolean;
  noDelay?: boolean;
}

/** The export `streamRequest` of a handler. `listen` and `close` do nothing: the host listens. */
export interface Server extends EventEmitter, Export {
  listen(...values: unknown[]): this;
  close(...values: unknown[]): this;
}

export function createServer(listener?: (socket: Socket) => void): Server;
export function createServer(options: ServerOptions, listener?: (socket: Socket) => void): Server;
