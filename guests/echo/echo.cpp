// Sends all data back until the client has finished sending.
#include "socketserver.hpp"

struct Echo : socketserver::BaseRequestHandler {
  socketserver::Result<> handle() override {
    for (;;) {
      auto data = request.recv(65536);
      if (!data) return std::unexpected(data.error());
      if (data->empty()) return {};
      if (auto sent = request.sendall(*data); !sent) return sent;
    }
  }
};

SOCKETSERVER_EXPORT(Echo)
