// The handler of Python's documentation: sends the data back, upper-cased.

// An instance of this module serves one request. The socket is kept in the module,
// because the host calls the functions without `this`.
let request;

export const streamRequest = {
  setup(socket, clientAddress) {
    request = socket;
  },

  handle() {
    try {
      const data = strip(request.recv(1024));
      request.sendall(data.map(upper));
    } catch (error) {
      // The socket throws an error code. The host expects a text.
      throw error.payload?.replaceAll('-', ' ') ?? String(error);
    }
  },

  finish() {},
};

// Python's bytes.strip() and bytes.upper() handle ASCII only.
const isSpace = (byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
const upper = (byte) => (byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte);

function strip(data) {
  let start = 0;
  let end = data.length;
  while (start < end && isSpace(data[start])) start++;
  while (start < end && isSpace(data[end - 1])) end--;
  return data.subarray(start, end);
}
