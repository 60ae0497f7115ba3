// The types of `sendfile.js`, which has the comments.

import type { Socket } from './socketserver.js';

/** A file of a granted directory, open for reading. */
export class File {
  constructor(resource: unknown);
  readonly resource: unknown;
  /** The path begins with the name of a granted directory. */
  static open(path: string): File;
  /** The size in bytes. */
  readonly size: number;
}

/** Sends a file from `offset` on, and returns the number of bytes sent. */
export function sendfile(socket: Socket, file: File, offset?: number, count?: number | null): number;
