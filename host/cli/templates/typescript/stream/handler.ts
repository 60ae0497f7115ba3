// Receives up to 1024 bytes, and sends them back in upper case.
import { BaseRequestHandler, streamRequest as serve } from 'socketserver';

class MyTCPHandler extends BaseRequestHandler {
  handle(): void {
    const text: string = String.fromCharCode(...this.request.recv(1024)).trim();
    this.request.sendall(text.toUpperCase());
  }
}

export const streamRequest = serve(MyTCPHandler);
