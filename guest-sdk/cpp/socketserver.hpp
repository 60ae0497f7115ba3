// Request handlers for wasm-socketserver, written in C++ as Python's
// `socketserver` writes them: derive from `BaseRequestHandler`, override
// `handle`, and name the class in `SOCKETSERVER_EXPORT`.
//
// There are no exceptions: what can fail returns a `Result`, which is a value
// or an `Error`. Whatever has no name here is called by the C bindings, which
// are included; `Socket::borrow` is for them.
#pragma once

#include "stream_handler.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace socketserver {

// Why a call on a socket failed, or a handler: a sentence for the operator's log.
class Error {
 public:
  // One of the constants SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_*.
  explicit Error(socketserver_handler_types_error_code_t code) : code_(code), text_(text_of(code)) {}
  // A sentence of the handler's own.
  explicit Error(std::string text) : text_(std::move(text)) {}

  // Nothing if the error is not a socket's.
  std::optional<socketserver_handler_types_error_code_t> code() const { return code_; }
  const std::string &text() const { return text_; }

 private:
  static const char *text_of(socketserver_handler_types_error_code_t code) {
    // In the order of `error-code` in wit/types.wit.
    static constexpr auto texts = std::to_array<const char *>({
        "timed out", "resource temporarily unavailable", "operation now in progress",
        "operation already in progress", "bad file descriptor", "permission denied",
        "connection reset by peer", "software caused connection abort", "connection refused",
        "broken pipe", "socket is not connected", "socket is already connected",
        "address already in use", "cannot assign requested address",
        "address family not supported by protocol", "destination address required",
        "no route to host", "network is unreachable", "network is down", "message too long",
        "invalid argument", "no such file or directory", "protocol not available",
        "protocol not supported", "protocol wrong type for socket", "operation not supported",
        "no buffer space available", "cannot allocate memory", "too many open files",
        "unexpected error, named in the log of the host"});
    static_assert(texts.size() == SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_OTHER + 1);
    return texts[code];
  }

  std::optional<socketserver_handler_types_error_code_t> code_;
  std::string text_;
};

template <class T = void>
using Result = std::expected<T, Error>;

// The request socket: Python's `self.request`. The host closes the connection
// after `finish`. A copy is another name for the same socket.
class Socket {
 public:
  // Receives at most `bufsize` bytes: waits for the first, then returns what is
  // there. Empty when the other end has finished sending.
  Result<std::string> recv(size_t bufsize) const {
    stream_handler_list_u8_t data;
    socketserver_handler_types_error_code_t error;
    auto most = static_cast<uint32_t>(std::min<size_t>(bufsize, UINT32_MAX));
    if (!socketserver_handler_sockets_method_socket_recv(borrow(), most, &data, &error)) return fail(error);
    std::string received(reinterpret_cast<const char *>(data.ptr), data.len);
    stream_handler_list_u8_free(&data);
    return received;
  }

  // Sends as much of `data` as the socket takes, and returns how much that was.
  Result<size_t> send(std::string_view data) const {
    auto bytes = list(data);
    uint32_t sent;
    socketserver_handler_types_error_code_t error;
    if (!socketserver_handler_sockets_method_socket_send(borrow(), &bytes, &sent, &error)) return fail(error);
    return sent;
  }

  // Sends all of `data`. After an error nobody knows how much was sent.
  Result<> sendall(std::string_view data) const {
    auto bytes = list(data);
    socketserver_handler_types_error_code_t error;
    if (!socketserver_handler_sockets_method_socket_sendall(borrow(), &bytes, &error)) return fail(error);
    return {};
  }

  // How long a call may wait, in seconds: nothing for without end, 0 for not at all.
  Result<> settimeout(std::optional<double> seconds) const {
    socketserver_handler_types_error_code_t error;
    auto timeout = seconds ? &*seconds : nullptr;
    if (!socketserver_handler_sockets_method_socket_settimeout(borrow(), timeout, &error)) return fail(error);
    return {};
  }

  // Gives the socket up: the other end sees the end of the connection.
  void close() const { socketserver_handler_sockets_method_socket_close(borrow()); }

  // For the functions of the C bindings.
  socketserver_handler_sockets_borrow_socket_t borrow() const {
    return socketserver_handler_sockets_borrow_socket(own);
  }

  socketserver_handler_sockets_own_socket_t own{};

 private:
  static std::unexpected<Error> fail(socketserver_handler_types_error_code_t code) {
    return std::unexpected(Error(code));
  }
  // The bindings do not write to what they send.
  static stream_handler_list_u8_t list(std::string_view data) {
    return {reinterpret_cast<uint8_t *>(const_cast<char *>(data.data())), data.size()};
  }
};

// One object serves one request. After an error of `setup` neither of the
// others is called; `finish` is called after an error of `handle`.
class BaseRequestHandler {
 public:
  virtual Result<> setup() { return {}; }
  virtual Result<> handle() { return {}; }
  virtual Result<> finish() { return {}; }

  Socket request;
  // As the C bindings have it: `tag` is one of SOCKETSERVER_HANDLER_TYPES_ADDRESS_*.
  socketserver_handler_types_address_t client_address{};
};

// Python's bytes.strip(): without the ASCII whitespace at both ends.
inline std::string_view strip(std::string_view data) {
  auto space = [](unsigned char c) { return std::isspace(c) != 0; };
  while (!data.empty() && space(data.front())) data.remove_prefix(1);
  while (!data.empty() && space(data.back())) data.remove_suffix(1);
  return data;
}

// What the host is told.
inline bool report(const Result<> &result, stream_handler_string_t *err) {
  if (!result) stream_handler_string_dup_n(err, result.error().text().data(), result.error().text().size());
  return result.has_value();
}

}  // namespace socketserver

// Makes `Handler` what the component serves requests with; once in a guest.
#define SOCKETSERVER_EXPORT(Handler)                                                                        \
  static Handler socketserver_handler;                                                                      \
  extern "C" bool exports_socketserver_handler_stream_request_setup(                                        \
      exports_socketserver_handler_stream_request_own_socket_t request,                                     \
      exports_socketserver_handler_stream_request_address_t *client_address, stream_handler_string_t *err) { \
    socketserver_handler.request.own = request;                                                             \
    socketserver_handler.client_address = *client_address;                                                  \
    return socketserver::report(socketserver_handler.setup(), err);                                         \
  }                                                                                                         \
  extern "C" bool exports_socketserver_handler_stream_request_handle(stream_handler_string_t *err) {        \
    return socketserver::report(socketserver_handler.handle(), err);                                        \
  }                                                                                                         \
  extern "C" bool exports_socketserver_handler_stream_request_finish(stream_handler_string_t *err) {        \
    return socketserver::report(socketserver_handler.finish(), err);                                        \
  }
