// Request handlers for wasm-socketserver in C++, with the classes and names of
// Python's `socketserver`: derive from `BaseRequestHandler`, override `handle`, and
// name the class in `SOCKETSERVER_EXPORT`.
//
// There are no exceptions: functions that can fail return a `Result`, which is a
// value or an `Error`. The header `network.hpp` opens other sockets. Functions of the
// host without a name here are in the C bindings, which this header includes; pass
// `Socket::borrow()` to them.
#pragma once

#include "address.hpp"
#include "bindings.h"
#include "constants.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
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

// The request socket, Python's `self.request`, or a socket of `network.hpp`. The host
// closes the connection of the request after `finish`. A copy refers to the same socket.
//
// The names are those of Python's `socket`. Sizes are bytes, times are seconds, and
// flags, levels and options are the constants of `constants.h`.
class Socket {
 public:
  // Waits for data and returns at most `bufsize` bytes of it. The result is empty if
  // the other end has finished sending. `flags` is a sum of SS_MSG_PEEK, SS_MSG_DONTWAIT,
  // SS_MSG_WAITALL and SS_MSG_NOSIGNAL.
  Result<std::string> recv(size_t bufsize, int flags = 0) const {
    ss_bytes data;
    Code error;
    bool ok = flags ? socketserver_handler_sockets_method_socket_recv_with_flags(borrow(), clamp(bufsize), flags, &data, &error)
                    : socketserver_handler_sockets_method_socket_recv(borrow(), clamp(bufsize), &data, &error);
    if (!ok) return fail(error);
    return take(data);
  }

  // Receives into `buffer`, as `recv`, and returns the number of bytes.
  Result<size_t> recv_into(std::span<char> buffer, int flags = 0) const {
    auto data = recv(buffer.size(), flags);
    if (!data) return std::unexpected(data.error());
    size_t count = std::min(data->size(), buffer.size());
    if (count) std::memcpy(buffer.data(), data->data(), count);
    return count;
  }

  // Receives as `recv`, and returns the address of the sender too. A connection has none,
  // except that of a Unix socket with a name.
  Result<std::pair<std::string, std::optional<Address>>> recvfrom(size_t bufsize, int flags = 0) const {
    socketserver_handler_sockets_tuple2_list_u8_option_address_t both;
    Code error;
    if (!socketserver_handler_sockets_method_socket_recvfrom(borrow(), clamp(bufsize), flags, &both, &error)) return fail(error);
    std::optional<Address> sender;
    if (both.f1.is_some) sender = Address::take(both.f1.val);
    return std::pair(take(both.f0), std::move(sender));
  }

  // Sends as much of `data` as the socket accepts and returns the number of bytes sent.
  // `flags` is a sum of SS_MSG_DONTWAIT, SS_MSG_MORE and SS_MSG_NOSIGNAL.
  Result<size_t> send(std::string_view data, int flags = 0) const {
    auto bytes = list(data);
    uint32_t sent;
    Code error;
    if (!socketserver_handler_sockets_method_socket_send_with_flags(borrow(), &bytes, flags, &sent, &error)) return fail(error);
    return sent;
  }

  // Sends all of `data`, with the flags of `send`. The timeout applies to the whole call.
  // After an error the number of bytes sent is unknown.
  Result<> sendall(std::string_view data, int flags = 0) const {
    auto bytes = list(data);
    Code error;
    bool ok = flags ? socketserver_handler_sockets_method_socket_sendall_with_flags(borrow(), &bytes, flags, &error)
                    : socketserver_handler_sockets_method_socket_sendall(borrow(), &bytes, &error);
    return result(ok, error);
  }

  // Sends `data` as one datagram to an address, with the flags of `send`. On a connection
  // the address is ignored.
  Result<size_t> sendto(std::string_view data, int flags, const Address &address) const {
    auto bytes = list(data);
    auto to = address.lend();
    uint32_t sent;
    Code error;
    if (!socketserver_handler_sockets_method_socket_sendto_with_flags(borrow(), &bytes, flags, &to, &sent, &error)) return fail(error);
    return sent;
  }
  Result<size_t> sendto(std::string_view data, const Address &address) const { return sendto(data, 0, address); }

  // Shuts down one half of the connection or both: SS_SHUT_RD, SS_SHUT_WR, SS_SHUT_RDWR.
  Result<> shutdown(int how) const {
    if (how < SS_SHUT_RD || how > SS_SHUT_RDWR) return fail(SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_INVALID_ARGUMENT);
    Code error;
    return result(socketserver_handler_sockets_method_socket_shutdown(borrow(), static_cast<uint8_t>(how), &error), error);
  }

  // Closes the socket: the other end sees the end of the connection, and later calls fail.
  // Closing twice is not an error.
  void close() const { socketserver_handler_sockets_method_socket_close(borrow()); }

  // Returns the address of the other end.
  Result<Address> getpeername() const {
    return address(socketserver_handler_sockets_method_socket_getpeername);
  }
  // Returns the address of this end.
  Result<Address> getsockname() const {
    return address(socketserver_handler_sockets_method_socket_getsockname);
  }

  // Sets the timeout of later calls in seconds. With nothing they wait without limit,
  // with 0 they do not wait.
  Result<> settimeout(std::optional<double> seconds) const {
    Code error;
    auto timeout = seconds ? &*seconds : nullptr;
    return result(socketserver_handler_sockets_method_socket_settimeout(borrow(), timeout, &error), error);
  }
  // Returns the timeout in seconds, or nothing, as at first.
  std::optional<double> gettimeout() const {
    double seconds;
    if (!socketserver_handler_sockets_method_socket_gettimeout(borrow(), &seconds)) return {};
    return seconds;
  }
  // Sets the timeout to nothing if `flag` is true, and to 0 if it is false.
  Result<> setblocking(bool flag) const { return flag ? settimeout({}) : settimeout(0.0); }
  // Returns false if the timeout is 0.
  bool getblocking() const { return gettimeout() != 0.0; }

  // Returns the value of an option. It is an error if handlers may not read it.
  Result<int> getsockopt(int level, int optname) const {
    int32_t value;
    Code error;
    if (!socketserver_handler_sockets_method_socket_getsockopt(borrow(), level, optname, &value, &error)) return fail(error);
    return value;
  }
  // Returns the value of an option as at most `buflen` bytes, 1 to 1024.
  Result<std::string> getsockopt(int level, int optname, size_t buflen) const {
    ss_bytes value;
    Code error;
    if (!socketserver_handler_sockets_method_socket_getsockopt_bytes(borrow(), level, optname, clamp(buflen), &value, &error)) return fail(error);
    return take(value);
  }
  // Sets an option. It is an error if handlers may not set it.
  Result<> setsockopt(int level, int optname, int value) const {
    Code error;
    return result(socketserver_handler_sockets_method_socket_setsockopt(borrow(), level, optname, value, &error), error);
  }
  // Sets an option to bytes, such as the two numbers of SS_SO_LINGER.
  Result<> setsockopt(int level, int optname, std::string_view value) const {
    auto bytes = list(value);
    Code error;
    return result(socketserver_handler_sockets_method_socket_setsockopt_bytes(borrow(), level, optname, &bytes, &error), error);
  }

  // Returns SS_AF_INET, SS_AF_INET6 or SS_AF_UNIX.
  int family() const {
    static constexpr std::array families{SS_AF_INET, SS_AF_INET6, SS_AF_UNIX};
    return families[socketserver_handler_sockets_method_socket_family(borrow())];
  }
  // Returns the type of the socket, such as SS_SOCK_STREAM.
  int type() const {
    static constexpr std::array types{SS_SOCK_STREAM, SS_SOCK_DGRAM, SS_SOCK_SEQPACKET, SS_SOCK_RDM, SS_SOCK_RAW};
    return types[socketserver_handler_sockets_method_socket_socket_type(borrow())];
  }
  // Returns the protocol that the socket was created with: 0 for a request socket.
  int proto() const { return socketserver_handler_sockets_method_socket_proto(borrow()); }
  // Returns a number that identifies this socket among the handler's sockets, or -1 if the
  // socket is closed. The number is not a file descriptor.
  int fileno() const { return socketserver_handler_sockets_method_socket_fileno(borrow()); }

  // Returns the handle that the functions of the C bindings expect.
  socketserver_handler_sockets_borrow_socket_t borrow() const {
    return socketserver_handler_sockets_borrow_socket(own);
  }

  socketserver_handler_sockets_own_socket_t own{};

 protected:
  using Code = socketserver_handler_types_error_code_t;

  static std::unexpected<Error> fail(Code code) { return std::unexpected(Error(code)); }
  static Result<> result(bool ok, Code code) {
    if (!ok) return fail(code);
    return {};
  }

 private:
  static uint32_t clamp(size_t size) { return static_cast<uint32_t>(std::min<size_t>(size, UINT32_MAX)); }
  // The bindings do not write to data that they send.
  static ss_bytes list(std::string_view data) {
    return {reinterpret_cast<uint8_t *>(const_cast<char *>(data.data())), data.size()};
  }
  static std::string take(ss_bytes &data) {
    std::string taken(reinterpret_cast<const char *>(data.ptr), data.len);
    ss_bytes_free(&data);
    return taken;
  }
  template <class Call>
  Result<Address> address(Call call) const {
    socketserver_handler_types_address_t found;
    Code error;
    if (!call(borrow(), &found, &error)) return fail(error);
    return Address::take(found);
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
  Address client_address;
};

// Returns `data` without the ASCII white space at both ends. Python's bytes.strip().
inline std::string_view strip(std::string_view data) {
  auto space = [](unsigned char c) { return std::isspace(c) != 0; };
  while (!data.empty() && space(data.front())) data.remove_prefix(1);
  while (!data.empty() && space(data.back())) data.remove_suffix(1);
  return data;
}

// Converts the result of a handler's method to the form of the C bindings.
inline bool report(const Result<> &result, ss_string *err) {
  if (!result) ss_string_dup_n(err, result.error().text().data(), result.error().text().size());
  return result.has_value();
}

}  // namespace socketserver

// Exports `Handler` from the component. A guest uses it once.
#ifdef SOCKETSERVER_DATAGRAM
#define SOCKETSERVER_EXPORT(Handler) \
  static_assert(false, "a handler that includes datagram.hpp is one of datagrams: include both.hpp first to serve connections, too");
#else
#define SOCKETSERVER_EXPORT(Handler)                                                                        \
  static Handler socketserver_handler;                                                                      \
  extern "C" bool exports_socketserver_handler_stream_request_setup(                                        \
      exports_socketserver_handler_stream_request_own_socket_t request,                                     \
      exports_socketserver_handler_stream_request_address_t *client_address, ss_string *err) { \
    socketserver_handler.request.own = request;                                                             \
    socketserver_handler.client_address = socketserver::Address::take(*client_address);                     \
    return socketserver::report(socketserver_handler.setup(), err);                                         \
  }                                                                                                         \
  extern "C" bool exports_socketserver_handler_stream_request_handle(ss_string *err) {        \
    return socketserver::report(socketserver_handler.handle(), err);                                        \
  }                                                                                                         \
  extern "C" bool exports_socketserver_handler_stream_request_finish(ss_string *err) {        \
    return socketserver::report(socketserver_handler.finish(), err);                                        \
  }
#endif
