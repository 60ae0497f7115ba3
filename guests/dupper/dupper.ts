// The datagram handler of Python's documentation: sends the data back, upper-cased.
import { BaseRequestHandler, type Datagram, datagramRequest as serve } from 'socketserver';

class MyUDPHandler extends BaseRequestHandler<Datagram> {
  handle(): void {
    const [data, socket] = this.request;
    socket.sendto(strip(data).map(upper), this.clientAddress);
  }
}

export const datagramRequest = serve(MyUDPHandler);

// Python's bytes.strip() and bytes.upper() handle ASCII only.
const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
const upper = (byte: number): number => (byte >= 0x61 && byte <= 0x7a ? byte - 0x20 : byte);

function strip(data: Uint8Array): Uint8Array {
  const isText = (byte: number): boolean => !isSpace(byte);
  return data.subarray(Math.max(data.findIndex(isText), 0), data.findLastIndex(isText) + 1);
}
