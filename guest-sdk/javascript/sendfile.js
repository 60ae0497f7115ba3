// Files of granted directories (--dir), which the kernel sends: no byte passes through the
// handler. A handler imports the interface `sendfile`, and files of WASI, only if it imports this
// module.

import { getDirectories } from 'sock:filesystem/preopens@0.2.6';
import * as host from 'socketserver:handler/sendfile@0.1.0';
import { call, SocketError } from './socketserver.js';

// The codes of Node.js and the texts for cases of `error-code` of files.
const ERRORS = {
  'no-entry': ['ENOENT', 'no such file or directory'],
  access: ['EACCES', 'permission denied'],
  'not-permitted': ['EPERM', 'operation not permitted'],
  'not-directory': ['ENOTDIR', 'not a directory'],
  'is-directory': ['EISDIR', 'is a directory'],
  invalid: ['EINVAL', 'invalid argument'],
  loop: ['ELOOP', 'too many symbolic links'],
  'name-too-long': ['ENAMETOOLONG', 'file name too long'],
  'insufficient-memory': ['ENOMEM', 'cannot allocate memory'],
};

const fail = (error) => {
  const known = typeof error?.payload === 'string' && (ERRORS[error.payload] ?? ['EIO', 'input/output error']);
  return known ? new SocketError(...known) : error;
};

// Returns the rest of a path after the name of a directory, or undefined.
function within(path, directory) {
  const name = directory.replace(/\/+$/, '');
  if (name === '.' && !path.startsWith('/')) return path;
  return path.startsWith(`${name}/`) ? path.slice(name.length + 1) : undefined;
}

// A file of a granted directory, open for reading.
export class File {
  constructor(resource) {
    this.resource = resource;
  }

  // Opens a file. The path begins with the name of a granted directory, such as
  // /srv/index.html with `--dir /var/www::/srv:ro`. A directory is opened, too.
  static open(path) {
    let last = new SocketError(...ERRORS['no-entry']);
    for (const [directory, name] of getDirectories()) {
      const rest = within(path, name);
      if (rest === undefined) continue;
      try {
        return new File(directory.openAt({ symlinkFollow: true }, rest, {}, { read: true }));
      } catch (error) {
        last = fail(error);
      }
    }
    throw last;
  }

  // The size in bytes. A directory throws `EISDIR`.
  get size() {
    let facts;
    try {
      facts = this.resource.stat();
    } catch (error) {
      throw fail(error);
    }
    if (facts.type === 'directory') throw new SocketError(...ERRORS['is-directory']);
    return facts.size;
  }
}

// Sends a file from `offset` on, until its end or for `count` bytes, and returns the number of
// bytes sent. The timeout of the socket applies to each wait. A directory throws `EINVAL`. After
// an error the number of bytes sent is unknown.
export function sendfile(socket, file, offset = 0, count = null) {
  const most = count ?? Number.MAX_SAFE_INTEGER - offset;
  if (!Number.isSafeInteger(offset) || offset < 0 || !Number.isSafeInteger(most) || most < 0) {
    throw new SocketError(...ERRORS.invalid);
  }
  for (let sent = 0; ; ) {
    const more = call(() => host.sendfile(socket.resource, file.resource, offset + sent, most - sent));
    if (!more) return sent;
    sent += more;
  }
}
