// Sends all data back until the client has finished sending.
import { BaseRequestHandler, streamRequest as serve } from 'socketserver';

class Echo extends BaseRequestHandler {
  handle() {
    for (let data; (data = this.request.recv(65536)).length; ) this.request.sendall(data);
  }
}

export const streamRequest = serve(Echo);
