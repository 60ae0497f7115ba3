// Handlers that read and write a connection as files, `rfile` and `wfile`: derive from
// `StreamRequestHandler`, override `handle`, and name the class in `SOCKETSERVER_EXPORT`.
#pragma once

#include "socketserver.hpp"

namespace socketserver {

// A connection as a file to read from. Python's `rfile`.
//
// The other end decides how long a line is: give `readline` a limit. After a timeout every call
// that receives fails, as in Python, because data may have been lost.
class Reader {
 public:
  static constexpr size_t no_limit = std::string::npos;

  Reader() = default;
  // A file with a buffer of `size` bytes, or none. Below 0 it is Python's default, 8192.
  Reader(Socket socket, int size) : socket_(socket), size_(size < 0 ? 8192 : static_cast<size_t>(size)) {}

  // Reads a line with its line feed, or what there is before the end: nothing at the end. With a
  // limit it reads at most so many bytes, and the next call reads the rest.
  Result<std::string> readline(size_t limit = no_limit) { return collect(limit, size_ ? size_ : 1, true); }

  // Reads `size` bytes, or all until the end, and fewer only at the end. Without a buffer a `size`
  // is one call of `recv`.
  Result<std::string> read(size_t size = no_limit) {
    if (!size_ && size != no_limit) return receive(std::min(size, most));
    return collect(size, size_ ? size_ : most, false);
  }

 private:
  // The most bytes that a file without a buffer receives.
  static constexpr size_t most = 65536;

  Result<std::string> collect(size_t limit, size_t size, bool is_line) {
    std::string data;
    while (data.size() < limit) {
      if (start_ == rest_.size()) {
        auto received = receive(size);
        if (!received) return received;
        rest_ = std::move(*received);
        start_ = 0;
        if (rest_.empty()) break;
      }
      size_t end = is_line ? rest_.find('\n', start_) : std::string::npos;
      size_t count = std::min((end == std::string::npos ? rest_.size() : end + 1) - start_, limit - data.size());
      data.append(rest_, start_, count);
      start_ += count;
      if (end != std::string::npos && start_ == end + 1) break;
    }
    return data;
  }

  Result<std::string> receive(size_t size) {
    if (timed_out_) return std::unexpected(Error("cannot read from timed out object"));
    auto received = socket_.recv(size);
    timed_out_ = !received && received.error().code() == SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_TIMED_OUT;
    return received;
  }

  Socket socket_;
  size_t size_ = 0, start_ = 0;
  std::string rest_;
  bool timed_out_ = false;
};

// A connection as a file to write to. Python's `wfile`. Without a buffer each write is one
// `sendall`. A buffer is sent when a write does not fit into it, by `flush`, and at the end.
class Writer {
 public:
  Writer() = default;
  // A file with a buffer of `size` bytes, or none. Below 0 it is Python's default, 8192.
  Writer(Socket socket, int size) : socket_(socket), size_(size < 0 ? 8192 : static_cast<size_t>(size)) {}

  bool closed() const { return closed_; }

  // Writes all of `data`. After an error of a file without a buffer the number of bytes sent is
  // unknown.
  Result<> write(std::string_view data) {
    if (closed_) return std::unexpected(Error("write to closed file"));
    if (!size_) return socket_.sendall(data);
    if (data.size() > size_ - buffer_.size()) {
      if (auto flushed = flush(); !flushed) return flushed;
      while (data.size() > size_) {
        auto sent = socket_.send(data);
        if (!sent) return std::unexpected(sent.error());
        data.remove_prefix(std::min(*sent, data.size()));
      }
    }
    buffer_ += data;
    return {};
  }

  // Sends what is in the buffer. After an error what was not sent stays there.
  Result<> flush() {
    if (closed_) return std::unexpected(Error("flush of closed file"));
    while (!buffer_.empty()) {
      auto sent = socket_.send(buffer_);
      if (!sent) return std::unexpected(sent.error());
      buffer_.erase(0, *sent);
    }
    return {};
  }

  // Sends what is in the buffer, and refuses later writes. The connection stays open.
  Result<> close() {
    if (closed_) return {};
    auto flushed = flush();
    closed_ = true;
    return flushed;
  }

 private:
  Socket socket_;
  size_t size_ = 0;
  std::string buffer_;
  bool closed_ = false;
};

// A handler that reads `rfile` and writes `wfile`. Its constructor may set the attributes. A class
// that overrides `setup` or `finish` calls the one of this class, as in Python.
class StreamRequestHandler : public BaseRequestHandler {
 public:
  Result<> setup() override {
    connection = request;
    if (timeout) {
      if (auto set = connection.settimeout(timeout); !set) return set;
    }
    if (disable_nagle_algorithm) {
      if (auto set = connection.setsockopt(SS_IPPROTO_TCP, SS_TCP_NODELAY, 1); !set) return set;
    }
    rfile = Reader(connection, rbufsize);
    wfile = Writer(connection, wbufsize);
    return {};
  }

  Result<> finish() override {
    // An error that stays is that of `close`.
    if (!wfile.closed()) (void)wfile.flush();
    return wfile.close();
  }

  // The sizes of the buffers. With 0 there is none, below 0 it is Python's default.
  int rbufsize = -1, wbufsize = 0;
  // The timeout of the connection in seconds, or nothing.
  std::optional<double> timeout;
  // Sends small writes at once (TCP_NODELAY).
  bool disable_nagle_algorithm = false;

  Socket connection;
  Reader rfile;
  Writer wfile;
};

}  // namespace socketserver
