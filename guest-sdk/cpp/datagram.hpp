// Handlers of datagrams, with the classes of Python's `socketserver`: derive from
// `BaseDatagramRequestHandler` or `DatagramRequestHandler`, override `handle`, and name the class
// in `SOCKETSERVER_EXPORT_DATAGRAM`. Include this header before the others. A component that serves
// connections, too, includes both.hpp before all of them.
#pragma once

#ifndef SOCKETSERVER_BOTH
#ifdef SOCKETSERVER_BINDINGS_H
#error "include datagram.hpp before socketserver.hpp, network.hpp and sendfile.hpp, or both.hpp before all of them if the component has a handler of connections, too"
#endif
#define SOCKETSERVER_DATAGRAM
#endif
#include "socketserver.hpp"

namespace socketserver {

// A datagram, and the socket to reply on: Python's pair.
struct Datagram {
  std::string data;
  // The server's socket. It sends to the client of the request only, and receives nothing.
  Socket socket;
};

// The base class of handlers of datagrams, as `BaseRequestHandler` is for connections.
class BaseDatagramRequestHandler {
 public:
  virtual Result<> setup() { return {}; }
  virtual Result<> handle() { return {}; }
  virtual Result<> finish() { return {}; }

  Datagram request;
  Address client_address;
};

// Reads a datagram as a file.
class DatagramReader {
 public:
  DatagramReader() = default;
  explicit DatagramReader(std::string_view data) : rest_(data) {}

  // Returns at most `size` bytes: none at the end. They are those of the request.
  std::string_view read(size_t size = std::string_view::npos) {
    auto data = rest_.substr(0, size);
    rest_.remove_prefix(data.size());
    return data;
  }
  // Returns a line with its line feed, or what there is before the end.
  std::string_view readline() {
    auto end = rest_.find('\n');
    return read(end == std::string_view::npos ? end : end + 1);
  }

 private:
  std::string_view rest_;
};

// A handler that reads a datagram from `rfile` and writes the reply to `wfile`. `finish` sends
// the reply as one datagram, which is empty if nothing was written. To send no reply, or
// several, derive from `BaseDatagramRequestHandler`. A class that overrides `setup` or `finish`
// calls the one of this class, as in Python.
class DatagramRequestHandler : public BaseDatagramRequestHandler {
 public:
  Result<> setup() override {
    rfile = DatagramReader(request.data);
    return {};
  }
  Result<> finish() override {
    auto sent = request.socket.sendto(wfile, client_address);
    if (!sent) return std::unexpected(sent.error());
    return {};
  }

  DatagramReader rfile;
  // The reply: append to it.
  std::string wfile;
};

}  // namespace socketserver

// Exports `Handler` from the component. A guest uses it once.
#define SOCKETSERVER_EXPORT_DATAGRAM(Handler)                                                              \
  static Handler socketserver_datagram_handler;                                                            \
  extern "C" bool exports_socketserver_handler_datagram_request_setup(                                     \
      exports_socketserver_handler_datagram_request_tuple2_list_u8_own_socket_t *request,                  \
      exports_socketserver_handler_datagram_request_address_t *client_address, ss_string *err) {           \
    auto &data = request->f0;                                                                              \
    socketserver_datagram_handler.request.data.assign(reinterpret_cast<const char *>(data.ptr), data.len); \
    ss_bytes_free(&data);                                                                                  \
    socketserver_datagram_handler.request.socket.own = request->f1;                                        \
    socketserver_datagram_handler.client_address = socketserver::Address::take(*client_address);           \
    return socketserver::report(socketserver_datagram_handler.setup(), err);                               \
  }                                                                                                        \
  extern "C" bool exports_socketserver_handler_datagram_request_handle(ss_string *err) {                   \
    return socketserver::report(socketserver_datagram_handler.handle(), err);                              \
  }                                                                                                        \
  extern "C" bool exports_socketserver_handler_datagram_request_finish(ss_string *err) {                   \
    return socketserver::report(socketserver_datagram_handler.finish(), err);                              \
  }
