// Prints in each way that C++ has, flushes nothing, and has static objects that print when they
// are destroyed. The first byte from the client selects the end: `s`, `h` and `f` an error of
// that function, `x` `exit`, `a` `abort`. `v` separates the streams of C++ from those of C.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include "socketserver.hpp"

struct PrintsDestruction {
  const char *name;
  ~PrintsDestruction() { std::cout << name << " destroyed\n"; }
};

static PrintsDestruction global{"global"};

struct Goodbye : socketserver::BaseRequestHandler {
  char ends = 0;
  PrintsDestruction member{"member"};

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
    static PrintsDestruction local{"local"};
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
