// Does what the lines of its client say with sockets that it opens, and answers each line. A
// new socket takes the place of the last one, which goes on a stack.
#include "network.hpp"

#include <cstdio>
#include <cstdlib>
#include <sstream>

using socketserver::Address;
using socketserver::Error;
using socketserver::Result;
using socketserver::network::Socket;
using std::string;
namespace network = socketserver::network;

namespace {

Address address_of(const string &text) {
  unsigned a, b, c, d, port;
  if (std::sscanf(text.c_str(), "%u.%u.%u.%u:%u", &a, &b, &c, &d, &port) == 5)
    return Address::ipv4({uint8_t(a), uint8_t(b), uint8_t(c), uint8_t(d)}, uint16_t(port));
  return Address::unix_path(text.starts_with('@') ? '\0' + text.substr(1) : text);
}

int family_of(const string &word) { return word == "inet" ? SS_AF_INET : word == "inet6" ? SS_AF_INET6 : SS_AF_UNIX; }

int type_of(const string &word) {
  return word == "stream" ? SS_SOCK_STREAM : word == "dgram" ? SS_SOCK_DGRAM : word == "seqpacket" ? SS_SOCK_SEQPACKET : SS_SOCK_RAW;
}

string list(const std::vector<size_t> &places) {
  string text = "[";
  for (auto place : places) text += (text.size() > 1 ? ", " : "") + std::to_string(place);
  return text + "]";
}

string ok() { return "ok"; }

struct Dialer : socketserver::BaseRequestHandler {
  std::vector<Socket> sockets;

  Result<> handle() override {
    for (string line;;) {
      auto byte = request.recv(1);
      if (!byte) return std::unexpected(byte.error());
      if (byte->empty()) return {};
      if (*byte != "\n") {
        line += *byte;
        continue;
      }
      auto answer = run(line);
      auto sent = request.sendall((answer ? *answer : "E " + answer.error().text()) + "\n");
      if (!sent) return sent;
      line.clear();
    }
  }

  string push(Socket socket) {
    sockets.push_back(std::move(socket));
    return "ok";
  }

  Result<string> run(const string &line) {
    std::istringstream in(line);
    string name, first, second;
    in >> name >> first >> second;
    auto &last = sockets.empty() ? static_cast<socketserver::Socket &>(request) : sockets.back();
    auto *opened = sockets.empty() ? nullptr : &sockets.back();
    auto pushed = [this](Socket socket) { return push(std::move(socket)); };
    auto text = [](Address address) { return address.text(); };
    auto number = [](size_t count) { return std::to_string(count); };
    if (name == "socket") return Socket::open(family_of(first), type_of(second)).transform(pushed);
    if (name == "pair") {
      return Socket::pair(type_of(first)).transform([this](auto both) {
        push(std::move(both.first));
        return push(std::move(both.second));
      });
    }
    if (name == "swap") return std::swap(sockets.back(), sockets[sockets.size() - 2]), ok();
    if (name == "drop") return sockets.pop_back(), ok();
    if (name == "close") return last.close(), ok();
    if (name == "timeout") return last.settimeout(std::strtod(first.c_str(), nullptr)).transform(ok);
    if (name == "connect") return opened->connect(address_of(first)).transform(ok);
    if (name == "connect_ex") return std::to_string(opened->connect_ex(address_of(first)));
    if (name == "bind") return opened->bind(address_of(first)).transform(ok);
    if (name == "listen") return opened->listen(5).transform(ok);
    if (name == "accept") {
      return opened->accept().transform([this](auto both) {
        push(std::move(both.first));
        return both.second.text();
      });
    }
    if (name == "name") return last.getsockname().transform(text);
    if (name == "peer") return last.getpeername().transform(text);
    if (name == "send") return last.send(first).transform(number);
    if (name == "sendto") return last.sendto(first, address_of(second)).transform(number);
    if (name == "recv") return last.recv(1024);
    if (name == "dial") return network::create_connection(first, uint16_t(std::atoi(second.c_str())), 5).transform(pushed);
    if (name == "lookup") {
      return network::getaddrinfo(first, "80", 0, SS_SOCK_STREAM).transform([](auto found) {
        string text;
        for (auto &one : found) text += (text.empty() ? "" : ",") + one.address.text();
        return text;
      });
    }
    if (name == "hostbyname") return network::gethostbyname(first);
    if (name == "select") {
      std::vector<const socketserver::Socket *> all;
      for (auto &socket : sockets) all.push_back(&socket);
      const socketserver::Socket *exceptional[] = {&request};
      return network::select(all, all, exceptional, std::strtod(first.c_str(), nullptr)).transform([](auto ready) {
        return list(ready.readers) + " " + list(ready.writers) + " " + list(ready.exceptional);
      });
    }
    return "E there is no such command";
  }
};

}  // namespace

SOCKETSERVER_EXPORT(Dialer)
