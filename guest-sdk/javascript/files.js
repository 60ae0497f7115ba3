// A connection as files: Python's `rfile` and `wfile`.

import { encode, SocketError } from './errors.js';

// Python's `io.DEFAULT_BUFFER_SIZE`, and the most bytes that a file without a buffer receives.
const DEFAULT_SIZE = 8192;
const MAX_RECV = 65536;

const LINE_FEED = 0x0a;

export function concat(parts) {
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let place = 0;
  for (const part of parts) {
    all.set(part, place);
    place += part.length;
  }
  return all;
}

// A file to read bytes from. Iterating over it reads lines.
//
// The other end decides how long a line is: give `readline` a limit. After a timeout every call
// that receives fails, as in Python, because data may have been lost.
export class Reader {
  #recv;
  #size;
  #rest = new Uint8Array();
  #timedOut = false;

  // `recv` is called with a number of bytes, and returns at most so many: none at the end.
  constructor(recv, size = -1) {
    this.#recv = recv;
    this.#size = size < 0 ? DEFAULT_SIZE : size;
  }

  // Reads a line with its line feed, or what there is before the end: nothing at the end. With a
  // limit it reads at most so many bytes, and the next call reads the rest.
  readline(limit = -1) {
    return this.#collect(limit, this.#size || 1, true);
  }

  // Reads `size` bytes, or all until the end, and fewer only at the end. Without a buffer a `size`
  // is one call of `recv`.
  read(size = -1) {
    if (!this.#size && size >= 0) return this.#receive(Math.min(size, MAX_RECV));
    return this.#collect(size, this.#size || MAX_RECV, false);
  }

  *[Symbol.iterator]() {
    for (let line; (line = this.readline()).length; ) yield line;
  }

  #collect(limit, size, isLine) {
    const parts = [];
    for (let left = limit < 0 ? Infinity : limit; left > 0; left -= parts.at(-1).length) {
      if (!this.#rest.length) this.#rest = this.#receive(size);
      if (!this.#rest.length) break;
      const end = isLine ? this.#rest.indexOf(LINE_FEED) + 1 : 0;
      const count = Math.min(end || this.#rest.length, left);
      parts.push(this.#rest.subarray(0, count));
      this.#rest = this.#rest.subarray(count);
      if (count === end) break;
    }
    return concat(parts);
  }

  #receive(size) {
    if (this.#timedOut) throw new SocketError('ETIMEDOUT', 'cannot read from timed out object');
    try {
      return this.#recv(size);
    } catch (error) {
      this.#timedOut = error.code === 'ETIMEDOUT';
      throw error;
    }
  }
}

// A file to write bytes to, or texts, which are written as UTF-8. Without a buffer each write is
// one `sendall`. A buffer is sent when a write does not fit into it, by `flush`, and at the end.
export class Writer {
  #socket;
  #buffer;
  #used = 0;
  #closed = false;

  constructor(socket, size = -1) {
    this.#socket = socket;
    this.#buffer = new Uint8Array(size < 0 ? DEFAULT_SIZE : size);
  }

  get closed() {
    return this.#closed;
  }

  // Writes all of `data`, and returns the number of its bytes. After an error of a file without a
  // buffer the number of bytes sent is unknown.
  write(data) {
    if (this.#closed) throw new Error('write to closed file');
    let rest = encode(data);
    const count = rest.length;
    if (!this.#buffer.length) {
      this.#socket.sendall(rest);
      return count;
    }
    if (count > this.#buffer.length - this.#used) {
      this.flush();
      while (rest.length > this.#buffer.length) rest = rest.subarray(this.#socket.send(rest));
    }
    this.#buffer.set(rest, this.#used);
    this.#used += rest.length;
    return count;
  }

  // Sends what is in the buffer. After an error what was not sent stays there.
  flush() {
    if (this.#closed) throw new Error('flush of closed file');
    let sent = 0;
    try {
      while (sent < this.#used) sent += this.#socket.send(this.#buffer.subarray(sent, this.#used));
    } finally {
      this.#buffer.copyWithin(0, sent, this.#used);
      this.#used -= sent;
    }
  }

  // Sends what is in the buffer, and refuses later writes. The connection stays open.
  close() {
    if (this.#closed) return;
    try {
      this.flush();
    } finally {
      this.#closed = true;
    }
  }
}
