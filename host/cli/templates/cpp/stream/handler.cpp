// Receives up to 1024 bytes, and sends them back in upper case.
#include "socketserver.hpp"

struct MyTCPHandler : socketserver::BaseRequestHandler {
  socketserver::Result<> handle() override {
    auto received = request.recv(1024);
    if (!received) return std::unexpected(received.error());
    std::string data(socketserver::strip(*received));
    for (char &c : data)
      if (c >= 'a' && c <= 'z') c -= 'a' - 'A';
    return request.sendall(data);
  }
};

SOCKETSERVER_EXPORT(MyTCPHandler)
