// The datagram handler of Python's documentation: sends the data back, upper-cased.

// An instance of this module serves one request. The host calls the functions without `this`.
let data;
let socket;
let client;

export const datagramRequest = {
  setup(request, clientAddress) {
    [data, socket] = request;
    client = clientAddress;
  },

  handle() {
    try {
      socket.sendto(strip(data).map(upper), client);
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
