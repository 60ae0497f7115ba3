// Sends one line back: the handler of CPython's own tests of socketserver.
#include "stream_files.hpp"

struct Line : socketserver::StreamRequestHandler {
  socketserver::Result<> handle() override {
    auto line = rfile.readline();
    if (!line) return std::unexpected(line.error());
    return wfile.write(*line);
  }
};

SOCKETSERVER_EXPORT(Line)
