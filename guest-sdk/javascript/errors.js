// The errors of the calls of the contract, and the conversion of data for them.

// The codes of Node.js and the texts for the cases of `error-code`.
export const ERRORS = {
  'timed-out': ['ETIMEDOUT', 'timed out'],
  'would-block': ['EAGAIN', 'resource temporarily unavailable'],
  'in-progress': ['EINPROGRESS', 'operation now in progress'],
  already: ['EALREADY', 'operation already in progress'],
  closed: ['EBADF', 'bad file descriptor'],
  denied: ['EACCES', 'permission denied'],
  'connection-reset': ['ECONNRESET', 'connection reset by peer'],
  'connection-aborted': ['ECONNABORTED', 'software caused connection abort'],
  'connection-refused': ['ECONNREFUSED', 'connection refused'],
  'broken-pipe': ['EPIPE', 'broken pipe'],
  'not-connected': ['ENOTCONN', 'socket is not connected'],
  'is-connected': ['EISCONN', 'socket is already connected'],
  'address-in-use': ['EADDRINUSE', 'address already in use'],
  'address-not-available': ['EADDRNOTAVAIL', 'cannot assign requested address'],
  'address-family-not-supported': ['EAFNOSUPPORT', 'address family not supported by protocol'],
  'destination-address-required': ['EDESTADDRREQ', 'destination address required'],
  'host-unreachable': ['EHOSTUNREACH', 'no route to host'],
  'network-unreachable': ['ENETUNREACH', 'network is unreachable'],
  'network-down': ['ENETDOWN', 'network is down'],
  'message-too-long': ['EMSGSIZE', 'message too long'],
  'invalid-argument': ['EINVAL', 'invalid argument'],
  'no-such-file': ['ENOENT', 'no such file or directory'],
  'no-protocol-option': ['ENOPROTOOPT', 'protocol not available'],
  'protocol-not-supported': ['EPROTONOSUPPORT', 'protocol not supported'],
  'wrong-protocol-type': ['EPROTOTYPE', 'protocol wrong type for socket'],
  'not-supported': ['EOPNOTSUPP', 'operation not supported'],
  'no-buffer-space': ['ENOBUFS', 'no buffer space available'],
  'not-enough-memory': ['ENOMEM', 'cannot allocate memory'],
  'too-many-open-files': ['EMFILE', 'too many open files'],
  other: ['EIO', 'unexpected error, named in the log of the host'],
};

// The error of a failed call on a socket. `code` is that of Node.js, such as `ECONNREFUSED`.
export class SocketError extends Error {
  constructor(code, text) {
    super(text);
    this.name = 'SocketError';
    this.code = code;
  }
}

// Calls a function of the contract. Its error code becomes a `SocketError`.
export function call(run) {
  try {
    return run();
  } catch (error) {
    const known = ERRORS[error?.payload];
    throw known ? new SocketError(...known) : error;
  }
}

// Converts a text to UTF-8.
export const encode = (data) =>
  typeof data === 'string' ? Uint8Array.from(unescape(encodeURIComponent(data)), (letter) => letter.charCodeAt(0)) : data;
