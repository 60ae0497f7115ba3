// Reads and writes its connection as files, in the case that the client names in the first line:
// `files.py` in C++.
#include "stream_files.hpp"

using socketserver::Error;
using socketserver::Result;

struct Files : socketserver::StreamRequestHandler {
  Files() {
    wbufsize = -1;
    timeout = 0.5;
    disable_nagle_algorithm = true;
  }

  Result<> handle() override {
    auto line = rfile.readline(20);
    if (!line) return std::unexpected(line.error());
    auto name = socketserver::strip(*line);
    if (name == "limit") return limit();
    if (name == "read") {
      if (auto written = bracketed(rfile.read(7)); !written) return written;
      return bracketed(rfile.read());
    }
    if (name == "large") {
      for (char letter = 'a'; letter <= 'j'; letter++)
        if (auto written = wfile.write(std::string(3000, letter)); !written) return written;
      return wfile.write(std::string(20000, 'k'));
    }
    if (name == "hold" || name == "flush") {
      if (auto written = wfile.write("first\n"); !written) return written;
      if (name == "flush")
        if (auto flushed = wfile.flush(); !flushed) return flushed;
      if (auto read = rfile.readline(); !read) return std::unexpected(read.error());
      return wfile.write("second\n");
    }
    if (name == "options") {
      bool nodelay = connection.getsockopt(SS_IPPROTO_TCP, SS_TCP_NODELAY) == 1;
      bool half = connection.gettimeout() == 0.5;
      return wfile.write(nodelay && half ? "1 0.5\n" : "other\n");
    }
    if (name == "error") {
      if (auto written = wfile.write("before\n"); !written) return written;
      return std::unexpected(Error("on purpose"));
    }
    if (name == "silence") {
      for (int round = 0; round < 2; round++)
        if (auto read = rfile.readline(); !read)
          if (auto written = wfile.write(read.error().text() + "\n"); !written) return written;
      return {};
    }
    if (name == "close") {
      if (auto written = wfile.write("bye\n"); !written) return written;
      if (auto closed = wfile.close(); !closed) return closed;
      if (auto read = rfile.readline(); !read) return std::unexpected(read.error());
      return {};
    }
    if (name == "closed") {
      if (auto closed = wfile.close(); !closed) return closed;
      return wfile.write("x");
    }
    if (name == "late") {
      if (auto written = wfile.write("ready\n"); !written) return written;
      if (auto flushed = wfile.flush(); !flushed) return flushed;
      return rfile.readline() ? Result<>() : wfile.write("late\n");
    }
    return std::unexpected(Error("no such case"));
  }

  Result<> limit() {
    for (;;) {
      auto piece = rfile.readline(5);
      if (piece && piece->empty()) return {};
      if (auto written = bracketed(piece); !written) return written;
    }
  }

  Result<> bracketed(const Result<std::string> &data) {
    if (!data) return std::unexpected(data.error());
    return wfile.write("[" + *data + "]");
  }
};

SOCKETSERVER_EXPORT(Files)
