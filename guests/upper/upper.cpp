// The handler of Python's documentation: sends the data back, upper-cased.
#include "socketserver.hpp"

// Python's bytes.upper() handles ASCII only.
static char upper(char c) {
  return c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c;
}

struct MyTCPHandler : socketserver::BaseRequestHandler {
  socketserver::Result<> handle() override {
    auto received = request.recv(1024);
    if (!received) return std::unexpected(received.error());
    std::string data(socketserver::strip(*received));
    std::ranges::transform(data, data.begin(), upper);
    return request.sendall(data);
  }
};

SOCKETSERVER_EXPORT(MyTCPHandler)
