// Handlers in the shape of Node.js: `createServer((socket) => ...)`, with the events and methods of
// its module `net`.
//
// An instance serves one connection, and all calls are synchronous: the events of a socket come
// while the host waits for `handle`, one after the other, and nothing runs beside them. There are
// no timers, and callbacks of promises do not run.

import { encode } from './errors.js';
import { IPPROTO_TCP, SHUT_WR, SO_KEEPALIVE, SOL_SOCKET, streamRequest, TCP_KEEPIDLE, TCP_NODELAY } from './socketserver.js';
import { decoder, decode } from './texts.js';

const FAMILY_NAMES = { 2: 'IPv4', 10: 'IPv6' };
// The most bytes of an event `data`, as in Node.js.
const CHUNK = 65536;

// Bytes whose `toString` is that of a `Buffer`: UTF-8, or the encoding that is named.
export class Buffer extends Uint8Array {
  static from(value, encoding = 'utf8') {
    if (typeof value !== 'string') return new Buffer(value);
    if (/^(latin1|binary|ascii)$/i.test(encoding)) return new Buffer(Array.from(value, (letter) => letter.charCodeAt(0)));
    if (/^hex$/i.test(encoding)) return new Buffer((value.match(/[0-9a-f]{2}/gi) ?? []).map((digits) => parseInt(digits, 16)));
    return new Buffer(encode(value));
  }

  static concat(list) {
    const all = new Buffer(list.reduce((size, part) => size + part.length, 0));
    list.reduce((place, part) => (all.set(part, place), place + part.length), 0);
    return all;
  }

  toString(encoding = 'utf8', start = 0, end = this.length) {
    return decode(this.subarray(start, end), encoding);
  }
}

// Objects that call listeners.
class EventEmitter {
  #listeners = new Map();

  on(event, listener) {
    this.#listeners.set(event, [...this.listeners(event), listener]);
    return this;
  }

  once(event, listener) {
    const once = (...values) => {
      this.off(event, once);
      listener.apply(this, values);
    };
    once.listener = listener;
    return this.on(event, once);
  }

  off(event, listener) {
    const all = this.listeners(event);
    const last = all.findLastIndex((each) => each === listener || each.listener === listener);
    this.#listeners.set(event, all.filter((_, place) => place !== last));
    return this;
  }

  removeAllListeners(event) {
    this.#listeners.delete(event);
    return this;
  }

  listeners(event) {
    return this.#listeners.get(event) ?? [];
  }

  listenerCount(event) {
    return this.listeners(event).length;
  }

  // Calls the listeners of an event, and returns true if there are any. An `error` without a
  // listener is thrown, and ends the request.
  emit(event, ...values) {
    const listeners = this.listeners(event);
    if (event === 'error' && !listeners.length) throw values[0];
    for (const listener of listeners) listener.apply(this, values);
    return listeners.length > 0;
  }
}
EventEmitter.prototype.addListener = EventEmitter.prototype.on;
EventEmitter.prototype.removeListener = EventEmitter.prototype.off;

// A connection: the events are `data`, `end`, `finish`, `timeout`, `error` and `close`.
export class Socket extends EventEmitter {
  bytesRead = 0;
  bytesWritten = 0;
  // True after `destroy`, or when both directions have ended.
  destroyed = false;
  readableEnded = false;
  writableEnded = false;
  // In milliseconds, or 0 for none.
  timeout = 0;
  #connection;
  #flowing = null;
  #decoder = null;
  #hasTimedOut = false;
  // The timeout of the connection, in seconds.
  #waits;
  #error = null;

  constructor(connection, { allowHalfOpen = false, pauseOnConnect = false } = {}) {
    super();
    this.#connection = connection;
    this.allowHalfOpen = allowHalfOpen;
    if (pauseOnConnect) this.#flowing = false;
  }

  on(event, listener) {
    // The first listener for data starts it, unless the socket was paused.
    if (event === 'data') this.#flowing ??= true;
    return super.on(event, listener);
  }

  get readyState() {
    if (this.destroyed) return 'closed';
    const names = { 11: 'open', 10: 'readOnly', 1: 'writeOnly', 0: 'closed' };
    return names[(this.readableEnded ? 0 : 10) + (this.writableEnded ? 0 : 1)];
  }

  get remoteAddress() {
    return this.#peer().host;
  }

  get remotePort() {
    return this.#peer().port;
  }

  get remoteFamily() {
    return FAMILY_NAMES[this.#peer().family];
  }

  get localAddress() {
    return this.address().address;
  }

  get localPort() {
    return this.address().port;
  }

  get localFamily() {
    return this.address().family;
  }

  // Returns `{ address, family, port }` of this end.
  address() {
    const { host, port, family } = this.#connection.getsockname();
    return { address: host, family: FAMILY_NAMES[family], port };
  }

  #peer() {
    try {
      return this.#connection.getpeername();
    } catch {
      return {};
    }
  }

  setEncoding(encoding = 'utf8') {
    this.#decoder = decoder(encoding);
    return this;
  }

  setNoDelay(noDelay = true) {
    this.#connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, Number(noDelay));
    return this;
  }

  // The delay is in milliseconds, of which the kernel counts whole seconds.
  setKeepAlive(enable = false, initialDelay = 0) {
    this.#connection.setsockopt(SOL_SOCKET, SO_KEEPALIVE, Number(enable));
    const seconds = Math.floor(initialDelay / 1000);
    if (enable && seconds > 0) this.#connection.setsockopt(IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    return this;
  }

  // Emits `timeout` when nothing was received for so many milliseconds. The socket stays open.
  setTimeout(milliseconds, listener) {
    this.timeout = milliseconds;
    this.#hasTimedOut = false;
    if (listener && milliseconds) this.once('timeout', listener);
    if (listener && !milliseconds) this.off('timeout', listener);
    return this;
  }

  pause() {
    this.#flowing = false;
    return this;
  }

  resume() {
    this.#flowing = true;
    return this;
  }

  isPaused() {
    return this.#flowing === false;
  }

  // Sends all of a text or of bytes, and returns true. A text is UTF-8 unless `encoding` says
  // otherwise.
  write(data, encoding, callback) {
    if (typeof encoding === 'function') [encoding, callback] = [undefined, encoding];
    if (this.writableEnded || this.destroyed) {
      const code = this.destroyed ? 'ERR_STREAM_DESTROYED' : 'ERR_STREAM_WRITE_AFTER_END';
      const error = Object.assign(new Error('write after end'), { code });
      callback?.(error);
      this.destroy(error);
      return false;
    }
    const bytes = typeof data === 'string' ? Buffer.from(data, encoding) : data;
    try {
      this.#connection.sendall(bytes);
    } catch (error) {
      callback?.(error);
      this.destroy(error);
      return false;
    }
    this.bytesWritten += bytes.length;
    this.#hasTimedOut = false;
    callback?.();
    return true;
  }

  // Sends the end after what was written, and `data` before it.
  end(data, encoding, callback) {
    if (typeof data === 'function') [data, callback] = [undefined, data];
    if (typeof encoding === 'function') [encoding, callback] = [undefined, encoding];
    if (callback) this.once('finish', callback);
    if (data !== undefined && data !== null) this.write(data, encoding);
    if (this.writableEnded || this.destroyed) return this;
    this.writableEnded = true;
    try {
      this.#connection.shutdown(SHUT_WR);
    } catch (error) {
      // The client may have closed the connection.
      if (error.code !== 'ENOTCONN') this.destroy(error);
    }
    if (!this.destroyed) this.emit('finish');
    return this;
  }

  destroySoon() {
    return this.end().destroy();
  }

  // Closes the connection. `close` comes when the listeners that run now have returned.
  destroy(error = null) {
    if (!this.destroyed) {
      this.destroyed = true;
      this.#error = error;
      this.#connection.close();
    }
    return this;
  }

  // Receives until both directions have ended. The host calls it through `createServer`.
  run(listener) {
    listener.call(this, this);
    // What nobody reads is dropped once this side has ended. Before that nothing can happen any
    // more if nobody reads.
    while (!this.destroyed && !this.readableEnded && (this.#flowing || this.writableEnded)) this.#receive();
    const error = this.#error;
    this.destroyed = true;
    if (error) this.emit('error', error);
    this.emit('close', error !== null);
  }

  #receive() {
    let data;
    try {
      const seconds = this.timeout && !this.#hasTimedOut ? this.timeout / 1000 : null;
      if (seconds !== this.#waits) this.#connection.settimeout((this.#waits = seconds));
      data = this.#connection.recv(CHUNK);
    } catch (error) {
      if (error.code !== 'ETIMEDOUT' || this.#waits === null) {
        this.destroy(error);
      } else {
        this.#hasTimedOut = true;
        this.emit('timeout');
      }
      return;
    }
    this.#hasTimedOut = false;
    this.bytesRead += data.length;
    const value = this.#decoder ? this.#decoder(data) : new Buffer(data);
    if (value.length && this.#flowing) this.emit('data', value);
    if (data.length) return;
    this.readableEnded = true;
    this.emit('end');
    // Without `allowHalfOpen` one end follows the other.
    if (!this.allowHalfOpen && !this.destroyed) this.end();
  }
}

// Returns a server that calls `listener` with a `Socket` for each connection: export it as
// `streamRequest`. The options are `allowHalfOpen`, `pauseOnConnect` and `noDelay`.
export function createServer(options, listener) {
  if (typeof options === 'function') [options, listener] = [{}, options];
  const server = new EventEmitter();
  if (listener) server.on('connection', listener);
  const serve = function (connection) {
    const socket = new Socket(connection, options);
    if (options?.noDelay) socket.setNoDelay();
    socket.run(() => server.emit('connection', socket));
  };
  class Handler {
    setup() {}
    handle() {
      serve(this.request);
    }
    finish() {}
  }
  // The host listens, at the address that `serve --bind` names.
  server.listen = () => server;
  server.close = () => server;
  return Object.assign(server, streamRequest(Handler));
}

export default { Buffer, createServer, Socket };
