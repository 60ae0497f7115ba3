// Sends each datagram back in upper case.
import { BaseRequestHandler, datagramRequest as serve } from 'socketserver';

class MyUDPHandler extends BaseRequestHandler {
  handle() {
    const [data, socket] = this.request;
    const text = String.fromCharCode(...data).trim();
    socket.sendto(text.toUpperCase(), this.clientAddress);
  }
}

export const datagramRequest = serve(MyUDPHandler);
