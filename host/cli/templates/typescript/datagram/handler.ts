// Sends each datagram back in upper case.
import { BaseRequestHandler, type Datagram, datagramRequest as serve } from 'socketserver';

class MyUDPHandler extends BaseRequestHandler<Datagram> {
  handle(): void {
    const [data, socket] = this.request;
    const text: string = String.fromCharCode(...data).trim();
    socket.sendto(text.toUpperCase(), this.clientAddress);
  }
}

export const datagramRequest = serve(MyUDPHandler);
