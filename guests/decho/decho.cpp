// Sends each datagram back; reads and writes it as files.
#include "datagram.hpp"

struct Echo : socketserver::DatagramRequestHandler {
  socketserver::Result<> handle() override {
    wfile += rfile.read();
    return {};
  }
};

SOCKETSERVER_EXPORT_DATAGRAM(Echo)
