// Request handlers for wasm-socketserver in C++, with the classes and names of
// Python's `socketserver`: derive from `BaseRequestHandler`, override `handle`, and
// name the class in `SOCKETSERVER_EXPORT`.
//
// There are no exceptions: functions that can fail return a `Result`, which is a
// value or an `Error`. Functions of the host without a name here are in the C
// bindings, which this header includes; pass `Socket::borrow()` to them.
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

// The error of a failed call on a socket, or of a handler. Its text is for the
// operator's log.
class Error {
 public:
  // One of the constants SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_*.
  explicit Error(socketserver_handler_types_error_code_t code) : code_(code), text_(text_of(code)) {}
  // An error with a text of the handler's own.
  explicit Error(std::string text) : text_(std::move(text)) {}

  // Returns the code of an error of a socket, and nothing for any other error.
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

// The request socket. Python's `self.request`. The host closes the connection after
// `finish`. A copy refers to the same socket.
class Socket {
 public:
  // Waits for data and returns at most `bufsize` bytes of it. The result is empty if
  // the other end has finished sending.
  Result<std::string> recv(size_t bufsize) const {
    stream_handler_list_u8_t data;
    socketserver_handler_types_error_code_t error;
    auto most = static_cast<uint32_t>(std::min<size_t>(bufsize, UINT32_MAX));
    if (!socketserver_handler_sockets_method_socket_recv(borrow(), most, &data, &error)) return fail(error);
    std::string received(reinterpret_cast<const char *>(data.ptr), data.len);
    stream_handler_list_u8_free(&data);
    return received;
  }

  // Sends as much of `data` as the socket accepts and returns the number of bytes sent.
  Result<size_t> send(std::string_view data) const {
    auto bytes = list(data);
    uint32_t sent;
    socketserver_handler_types_error_code_t error;
    if (!socketserver_handler_sockets_method_socket_send(borrow(), &bytes, &sent, &error)) return fail(error);
    return sent;
  }

  // Sends all of `data`. After an error the number of bytes sent is unknown.
  Result<> sendall(std::string_view data) const {
    auto bytes = list(data);
    socketserver_handler_types_error_code_t error;
    if (!socketserver_handler_sockets_method_socket_sendall(borrow(), &bytes, &error)) return fail(error);
    return {};
  }

  // Sets the timeout of later calls in seconds. With nothing they wait without limit,
  // with 0 they do not wait.
  Result<> settimeout(std::optional<double> seconds) const {
    socketserver_handler_types_error_code_t error;
    auto timeout = seconds ? &*seconds : nullptr;
    if (!socketserver_handler_sockets_method_socket_settimeout(borrow(), timeout, &error)) return fail(error);
    return {};
  }

  // Closes the socket: the other end sees the end of the connection.
  void close() const { socketserver_handler_sockets_method_socket_close(borrow()); }

  // Returns the handle that the functions of the C bindings expect.
  socketserver_handler_sockets_borrow_socket_t borrow() const {
    return socketserver_handler_sockets_borrow_socket(own);
  }

  socketserver_handler_sockets_own_socket_t own{};

 private:
  static std::unexpected<Error> fail(socketserver_handler_types_error_code_t code) {
    return std::unexpected(Error(code));
  }
  // The bindings do not write to data that they send.
  static stream_handler_list_u8_t list(std::string_view data) {
    return {reinterpret_cast<uint8_t *>(const_cast<char *>(data.data())), data.size()};
  }
};

// The base class of handlers. An object serves one request. After an error of `setup`
// the host calls neither `handle` nor `finish`. After an error of `handle` it calls
// `finish`.
class BaseRequestHandler {
 public:
  virtual Result<> setup() { return {}; }
  virtual Result<> handle() { return {}; }
  virtual Result<> finish() { return {}; }

  Socket request;
  // The address of the client, as a type of the C bindings: `tag` is one of
  // SOCKETSERVER_HANDLER_TYPES_ADDRESS_*.
  socketserver_handler_types_address_t client_address{};
};

// Returns `data` without the ASCII white space at both ends. Python's bytes.strip().
inline std::string_view strip(std::string_view data) {
  auto space = [](unsigned char c) { return std::isspace(c) != 0; };
  while (!data.empty() && space(data.front())) data.remove_prefix(1);
  while (!data.empty() && space(data.back())) data.remove_suffix(1);
  return data;
}

// Converts the result of a handler's method to the form of the C bindings.
inline bool report(const Result<> &result, stream_handler_string_t *err) {
  if (!result) stream_handler_string_dup_n(err, result.error().text().data(), result.error().text().size());
  return result.has_value();
}

}  // namespace socketserver

// Exports `Handler` from the component. A guest uses it once.
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
