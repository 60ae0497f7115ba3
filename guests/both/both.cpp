// Sends all data back, over TCP and over UDP: two handlers in one component.
#include "both.hpp"

struct OverTCP : socketserver::BaseRequestHandler {
  socketserver::Result<> handle() override {
    for (;;) {
      auto data = request.recv(65536);
      if (!data) return std::unexpected(data.error());
      if (data->empty()) return {};
      if (auto sent = request.sendall(*data); !sent) return sent;
    }
  }
};

struct OverUDP : socketserver::DatagramRequestHandler {
  socketserver::Result<> handle() override {
    wfile += rfile.read();
    return {};
  }
};

SOCKETSERVER_EXPORT(OverTCP)
SOCKETSERVER_EXPORT_DATAGRAM(OverUDP)
