// Prints in every way that C++ has, flushes nothing, and has static objects that
// speak when they are destroyed. The first byte from the client says how it ends:
// `s`, `h` and `f` with an error of that function, `x` with `exit`, `a` with
// `abort`; `v` parts the streams of C++ from those of C.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include "socketserver.hpp"

struct Speaks {
  const char *name;
  ~Speaks() { std::cout << name << " destroyed\n"; }
};

static Speaks global{"global"};

struct Goodbye : socketserver::BaseRequestHandler {
  char ends = 0;
  Speaks member{"member"};

  socketserver::Result<> step(char initial, const char *name) {
    std::cout << name << '\n';
    if (ends == initial) return std::unexpected(socketserver::Error(name));
    return {};
  }

  socketserver::Result<> setup() override {
    auto received = request.recv(1);
    if (!received) return std::unexpected(received.error());
    if (!received->empty()) ends = received->front();
    if (ends == 'v') std::ios::sync_with_stdio(false);
    static Speaks local{"local"};
    std::atexit([] { std::cout << "atexit\n"; });
    return step('s', "setup");
  }

  socketserver::Result<> handle() override {
    std::cout << "half ";
    if (ends != 'v') std::printf("a ");
    std::cout << "line\n";
    std::cerr << "an error\n";
    std::clog << "a note\n";
    if (ends == 'x') std::exit(3);
    if (ends == 'a') std::abort();
    return step('h', "handle");
  }

  socketserver::Result<> finish() override { return step('f', "finish"); }
};

SOCKETSERVER_EXPORT(Goodbye)
