// The datagram handler of Python's documentation: sends the data back, upper-cased.
#include "datagram.hpp"

// Python's bytes.upper() handles ASCII only.
static char upper(char c) { return c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c; }

struct MyUDPHandler : socketserver::BaseDatagramRequestHandler {
  socketserver::Result<> handle() override {
    std::string data(socketserver::strip(request.data));
    std::ranges::transform(data, data.begin(), upper);
    if (auto sent = request.socket.sendto(data, client_address); !sent) return std::unexpected(sent.error());
    return {};
  }
};

SOCKETSERVER_EXPORT_DATAGRAM(MyUDPHandler)
