// The handler of Python's documentation: sends the data back, upper-cased.

// One instance of this module serves one request. What `setup` is given is kept
// here: the host calls the functions without a `this`.
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
      // What the socket throws holds an error code, what the host takes is a sentence.
      throw error.payload?.replaceAll('-', ' ') ?? String(error);
    }
  },

  finish() {},
};

// Python's bytes.strip() and bytes.upper() know ASCII only.
const isSpace = (byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
const upper = (byte) => (byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte);

function strip(data) {
  let start = 0;
  let end = data.length;
  while (start < end && isSpace(data[start])) start++;
  while (start < end && isSpace(data[end - 1])) end--;
  return data.subarray(start, end);
}
