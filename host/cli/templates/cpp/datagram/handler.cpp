// Sends each datagram back in upper case.
#include "datagram.hpp"

struct MyUDPHandler : socketserver::BaseDatagramRequestHandler {
  socketserver::Result<> handle() override {
    std::string data(socketserver::strip(request.data));
    for (char &c : data)
      if (c >= 'a' && c <= 'z') c -= 'a' - 'A';
    if (auto sent = request.socket.sendto(data, client_address); !sent)
      return std::unexpected(sent.error());
    return {};
  }
};

SOCKETSERVER_EXPORT_DATAGRAM(MyUDPHandler)
