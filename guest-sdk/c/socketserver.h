// The sockets of a handler as C programmers know them: functions that return -1 and set
// `errno`, on top of the generated bindings. A function that is not called adds nothing to
// the handler. `network.h` opens other sockets, `sendfile.h` sends files, and `datagram.h` is for
// handlers of datagrams and `both.h` for those of both kinds, which include it first.
//
// Each function has the name of a method of Python's `socket`. Sizes are bytes and times
// are seconds. Flags, levels and options are those of constants.h.
#ifndef SOCKETSERVER_H
#define SOCKETSERVER_H

#include "bindings.h"
#include "constants.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

// A socket: the request socket, as `setup` receives it, or one of network.h.
typedef socketserver_handler_sockets_own_socket_t ss_socket;

// The address of one end of a socket.
typedef struct {
  // SS_AF_INET, SS_AF_INET6, SS_AF_UNIX, or 0 for no address.
  int family;
  // In the order of the machine.
  uint16_t port;
  // 4 bytes for IPv4, 16 for IPv6, first to last.
  uint8_t host[16];
  uint32_t flowinfo, scope_id;
  // The name of a Unix socket: a path, or after a zero byte an abstract name.
  size_t path_length;
  char path[108];
} ss_address;

// The numbers and the texts of errors, in the order of `error-code` in wit/types.wit.
static const struct { int number; const char *text; } ss_errors[] = {
    {ETIMEDOUT, "timed out"},
    {EAGAIN, "resource temporarily unavailable"},
    {EINPROGRESS, "operation now in progress"},
    {EALREADY, "operation already in progress"},
    {EBADF, "bad file descriptor"},
    {EACCES, "permission denied"},
    {ECONNRESET, "connection reset by peer"},
    {ECONNABORTED, "software caused connection abort"},
    {ECONNREFUSED, "connection refused"},
    {EPIPE, "broken pipe"},
    {ENOTCONN, "socket is not connected"},
    {EISCONN, "socket is already connected"},
    {EADDRINUSE, "address already in use"},
    {EADDRNOTAVAIL, "cannot assign requested address"},
    {EAFNOSUPPORT, "address family not supported by protocol"},
    {EDESTADDRREQ, "destination address required"},
    {EHOSTUNREACH, "no route to host"},
    {ENETUNREACH, "network is unreachable"},
    {ENETDOWN, "network is down"},
    {EMSGSIZE, "message too long"},
    {EINVAL, "invalid argument"},
    {ENOENT, "no such file or directory"},
    {ENOPROTOOPT, "protocol not available"},
    {EPROTONOSUPPORT, "protocol not supported"},
    {EPROTOTYPE, "protocol wrong type for socket"},
    {EOPNOTSUPP, "operation not supported"},
    {ENOBUFS, "no buffer space available"},
    {ENOMEM, "cannot allocate memory"},
    {EMFILE, "too many open files"},
    {EIO, "unexpected error, named in the log of the host"},
};

// Returns the text of an `errno` that a function here has set.
static inline const char *ss_strerror(int number) {
  for (size_t i = 0; i < sizeof ss_errors / sizeof *ss_errors; i++)
    if (ss_errors[i].number == number) return ss_errors[i].text;
  return "unexpected error";
}

// Makes the text of `errno` the error of the request, and returns false:
// `if (ss_sendall(request, data, size, 0) < 0) return ss_fail(err);`
static inline bool ss_fail(ss_string *err) {
  ss_string_dup_n(err, ss_strerror(errno), strlen(ss_strerror(errno)));
  return false;
}

// Sets `errno` if a call failed. Returns 0, or -1.
static inline int ss_result(bool ok, socketserver_handler_types_error_code_t error) {
  if (!ok) errno = ss_errors[error].number;
  return ok ? 0 : -1;
}

static inline socketserver_handler_sockets_borrow_socket_t ss_borrow(ss_socket socket) {
  return socketserver_handler_sockets_borrow_socket(socket);
}

// The bindings do not write to data that they send.
static inline ss_bytes ss_list(const void *data, size_t size) {
  ss_bytes list = {(uint8_t *)data, size};
  return list;
}

// Moves received bytes to `buffer`, and returns their number.
static inline ssize_t ss_take(ss_bytes *data, void *buffer, size_t size) {
  size_t count = data->len < size ? data->len : size;
  if (count) memcpy(buffer, data->ptr, count);
  ss_bytes_free(data);
  return (ssize_t)count;
}

// Converts an address of the bindings, and frees it.
static inline ss_address ss_address_take(socketserver_handler_types_address_t *from) {
  ss_address to = {0};
  if (from->tag == SOCKETSERVER_HANDLER_TYPES_ADDRESS_IPV4) {
    to.family = SS_AF_INET;
    to.port = from->val.ipv4.port;
    memcpy(to.host, &from->val.ipv4.host, 4);
  } else if (from->tag == SOCKETSERVER_HANDLER_TYPES_ADDRESS_IPV6) {
    to.family = SS_AF_INET6;
    to.port = from->val.ipv6.port;
    to.flowinfo = from->val.ipv6.flowinfo;
    to.scope_id = from->val.ipv6.scope_id;
    const uint16_t *groups = &from->val.ipv6.host.f0;
    for (size_t i = 0; i < 8; i++) to.host[2 * i] = groups[i] >> 8, to.host[2 * i + 1] = groups[i] & 0xff;
  } else {
    to.family = SS_AF_UNIX;
    uint8_t tag = from->val.unix.tag;
    size_t start = tag == SOCKETSERVER_HANDLER_TYPES_UNIX_ADDRESS_ABSTRACT;
    if (tag != SOCKETSERVER_HANDLER_TYPES_UNIX_ADDRESS_UNNAMED) {
      ss_bytes name = from->val.unix.val.pathname;
      size_t room = sizeof to.path - start, length = name.len < room ? name.len : room;
      if (length) memcpy(to.path + start, name.ptr, length);
      to.path_length = start + length;
    }
  }
  socketserver_handler_types_address_free(from);
  return to;
}

// Converts an address to that of the bindings, which refers to it. Do not free it.
static inline socketserver_handler_types_address_t ss_address_lend(const ss_address *from) {
  socketserver_handler_types_address_t to = {0};
  if (from->family == SS_AF_INET) {
    to.tag = SOCKETSERVER_HANDLER_TYPES_ADDRESS_IPV4;
    to.val.ipv4.port = from->port;
    memcpy(&to.val.ipv4.host, from->host, 4);
  } else if (from->family == SS_AF_INET6) {
    to.tag = SOCKETSERVER_HANDLER_TYPES_ADDRESS_IPV6;
    to.val.ipv6.port = from->port;
    to.val.ipv6.flowinfo = from->flowinfo;
    to.val.ipv6.scope_id = from->scope_id;
    uint16_t *groups = &to.val.ipv6.host.f0;
    for (size_t i = 0; i < 8; i++) groups[i] = (uint16_t)(from->host[2 * i] << 8 | from->host[2 * i + 1]);
  } else {
    to.tag = SOCKETSERVER_HANDLER_TYPES_ADDRESS_UNIX;
    size_t length = from->path_length < sizeof from->path ? from->path_length : sizeof from->path;
    size_t start = length > 0 && from->path[0] == 0;
    to.val.unix.tag = length == 0 ? SOCKETSERVER_HANDLER_TYPES_UNIX_ADDRESS_UNNAMED
                      : start     ? SOCKETSERVER_HANDLER_TYPES_UNIX_ADDRESS_ABSTRACT
                                  : SOCKETSERVER_HANDLER_TYPES_UNIX_ADDRESS_PATHNAME;
    to.val.unix.val.pathname = ss_list(from->path + start, length - start);
  }
  return to;
}

// Waits for data and receives at most `size` bytes, with a sum of SS_MSG_PEEK,
// SS_MSG_DONTWAIT, SS_MSG_WAITALL and SS_MSG_NOSIGNAL, or 0. Returns the number of bytes: 0
// if the other end has finished sending. Errors are those of recv(2); EAGAIN for a call
// that would wait, ETIMEDOUT if the timeout is over, EOPNOTSUPP for any other flag.
static inline ssize_t ss_recv(ss_socket socket, void *buffer, size_t size, int flags) {
  ss_bytes data;
  socketserver_handler_types_error_code_t error;
  uint32_t most = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
  bool ok = flags ? socketserver_handler_sockets_method_socket_recv_with_flags(ss_borrow(socket), most, flags, &data, &error)
                  : socketserver_handler_sockets_method_socket_recv(ss_borrow(socket), most, &data, &error);
  return ss_result(ok, error) < 0 ? -1 : ss_take(&data, buffer, size);
}

// Receives as ss_recv, and sets `*from` to the address of the sender. A connection has
// none, except that of a Unix socket with a name: its family is then 0.
static inline ssize_t ss_recvfrom(ss_socket socket, void *buffer, size_t size, int flags, ss_address *from) {
  socketserver_handler_sockets_tuple2_list_u8_option_address_t both;
  socketserver_handler_types_error_code_t error;
  uint32_t most = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
  bool ok = socketserver_handler_sockets_method_socket_recvfrom(ss_borrow(socket), most, flags, &both, &error);
  if (ss_result(ok, error) < 0) return -1;
  ss_address none = {0};
  *from = both.f1.is_some ? ss_address_take(&both.f1.val) : none;
  return ss_take(&both.f0, buffer, size);
}

// Sends as much of `data` as the socket accepts, with a sum of SS_MSG_DONTWAIT,
// SS_MSG_MORE and SS_MSG_NOSIGNAL, or 0. Returns the number of bytes sent. Errors are those
// of send(2); EPIPE raises no signal.
static inline ssize_t ss_send(ss_socket socket, const void *data, size_t size, int flags) {
  ss_bytes bytes = ss_list(data, size);
  uint32_t sent = 0;
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_sockets_method_socket_send_with_flags(ss_borrow(socket), &bytes, flags, &sent, &error);
  return ss_result(ok, error) < 0 ? -1 : (ssize_t)sent;
}

// Sends all of `data`, with the flags of ss_send, and returns 0. The timeout applies to
// the whole call. After an error the number of bytes sent is unknown.
static inline int ss_sendall(ss_socket socket, const void *data, size_t size, int flags) {
  ss_bytes bytes = ss_list(data, size);
  socketserver_handler_types_error_code_t error;
  bool ok = flags ? socketserver_handler_sockets_method_socket_sendall_with_flags(ss_borrow(socket), &bytes, flags, &error)
                  : socketserver_handler_sockets_method_socket_sendall(ss_borrow(socket), &bytes, &error);
  return ss_result(ok, error);
}

// Sends `data` as one datagram to an address, with the flags of ss_send, and returns
// `size`. On a connection the address is ignored.
static inline ssize_t ss_sendto(ss_socket socket, const void *data, size_t size, int flags, const ss_address *to) {
  ss_bytes bytes = ss_list(data, size);
  socketserver_handler_types_address_t address = ss_address_lend(to);
  uint32_t sent = 0;
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_sockets_method_socket_sendto_with_flags(ss_borrow(socket), &bytes, flags, &address, &sent, &error);
  return ss_result(ok, error) < 0 ? -1 : (ssize_t)sent;
}

// Shuts down one half of the connection or both: SS_SHUT_RD, SS_SHUT_WR, SS_SHUT_RDWR.
static inline int ss_shutdown(ss_socket socket, int how) {
  if (how < SS_SHUT_RD || how > SS_SHUT_RDWR) return errno = EINVAL, -1;
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_sockets_method_socket_shutdown(ss_borrow(socket), (uint8_t)how, &error);
  return ss_result(ok, error);
}

// Closes the socket: the other end sees the end of the connection, and later calls fail
// with EBADF. Closing twice is not an error.
static inline void ss_close(ss_socket socket) { socketserver_handler_sockets_method_socket_close(ss_borrow(socket)); }

// Sets `*address` to the address of the other end.
static inline int ss_getpeername(ss_socket socket, ss_address *address) {
  socketserver_handler_types_address_t found;
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_sockets_method_socket_getpeername(ss_borrow(socket), &found, &error);
  if (ok) *address = ss_address_take(&found);
  return ss_result(ok, error);
}

// Sets `*address` to the address of this end.
static inline int ss_getsockname(ss_socket socket, ss_address *address) {
  socketserver_handler_types_address_t found;
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_sockets_method_socket_getsockname(ss_borrow(socket), &found, &error);
  if (ok) *address = ss_address_take(&found);
  return ss_result(ok, error);
}

// Sets the timeout of later calls, in seconds. With 0 they fail with EAGAIN instead of
// waiting. A number below 0 stands for none: they wait without limit.
static inline int ss_settimeout(ss_socket socket, double seconds) {
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_sockets_method_socket_settimeout(ss_borrow(socket), seconds < 0 ? NULL : &seconds, &error);
  return ss_result(ok, error);
}

// Returns the timeout in seconds, or -1 for none, as at first.
static inline double ss_gettimeout(ss_socket socket) {
  double seconds;
  return socketserver_handler_sockets_method_socket_gettimeout(ss_borrow(socket), &seconds) ? seconds : -1;
}

// Sets `*value` to the value of an option. Fails with EACCES if handlers may not read it.
static inline int ss_getsockopt(ss_socket socket, int level, int optname, int *value) {
  int32_t found = 0;
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_sockets_method_socket_getsockopt(ss_borrow(socket), level, optname, &found, &error);
  if (ok) *value = found;
  return ss_result(ok, error);
}

// Copies the value of an option to `value`, which has `size` bytes, 1 to 1024. Returns the
// number of bytes.
static inline ssize_t ss_getsockopt_bytes(ss_socket socket, int level, int optname, void *value, size_t size) {
  ss_bytes found;
  socketserver_handler_types_error_code_t error;
  uint32_t most = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
  bool ok = socketserver_handler_sockets_method_socket_getsockopt_bytes(ss_borrow(socket), level, optname, most, &found, &error);
  return ss_result(ok, error) < 0 ? -1 : ss_take(&found, value, size);
}

// Sets an option. Fails with EACCES if handlers may not set it, and with EINVAL for a value
// that it cannot have.
static inline int ss_setsockopt(ss_socket socket, int level, int optname, int value) {
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_sockets_method_socket_setsockopt(ss_borrow(socket), level, optname, value, &error);
  return ss_result(ok, error);
}

// Sets an option to bytes, such as the two numbers of SS_SO_LINGER.
static inline int ss_setsockopt_bytes(ss_socket socket, int level, int optname, const void *value, size_t size) {
  ss_bytes bytes = ss_list(value, size);
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_sockets_method_socket_setsockopt_bytes(ss_borrow(socket), level, optname, &bytes, &error);
  return ss_result(ok, error);
}

// Returns SS_AF_INET, SS_AF_INET6 or SS_AF_UNIX.
static inline int ss_family(ss_socket socket) {
  static const uint8_t families[] = {SS_AF_INET, SS_AF_INET6, SS_AF_UNIX};
  return families[socketserver_handler_sockets_method_socket_family(ss_borrow(socket))];
}

// Returns the type of the socket, such as SS_SOCK_STREAM.
static inline int ss_type(ss_socket socket) {
  static const uint8_t types[] = {SS_SOCK_STREAM, SS_SOCK_DGRAM, SS_SOCK_SEQPACKET, SS_SOCK_RDM, SS_SOCK_RAW};
  return types[socketserver_handler_sockets_method_socket_socket_type(ss_borrow(socket))];
}

// Returns the protocol that the socket was created with: 0 for a request socket.
static inline int ss_proto(ss_socket socket) {
  return socketserver_handler_sockets_method_socket_proto(ss_borrow(socket));
}

// Returns a number that identifies this socket among the handler's sockets, or -1 if the
// socket is closed. The number is not a file descriptor.
static inline int ss_fileno(ss_socket socket) {
  return socketserver_handler_sockets_method_socket_fileno(ss_borrow(socket));
}

#ifndef SOCKETSERVER_DATAGRAM
// A connection, and its client. Python's `self.request` and `self.client_address`.
typedef struct {
  ss_socket socket;
  ss_address client_address;
} ss_connection;

#define SS_EXPORT_(type, connection, open, handle, flush)                                               \
  static type ss_request;                                                                               \
  bool exports_socketserver_handler_stream_request_setup(                                               \
      exports_socketserver_handler_stream_request_own_socket_t socket,                                  \
      exports_socketserver_handler_stream_request_address_t *client_address, ss_string *err) {          \
    ss_connection taken = {socket, ss_address_take(client_address)};                                    \
    connection = taken;                                                                                 \
    return (open) || ss_fail(err);                                                                      \
  }                                                                                                     \
  bool exports_socketserver_handler_stream_request_handle(ss_string *err) {                             \
    return (handle) || ss_fail(err);                                                                    \
  }                                                                                                     \
  bool exports_socketserver_handler_stream_request_finish(ss_string *err) {                             \
    return (flush) || ss_fail(err);                                                                     \
  }

// Exports a function `bool handle(ss_connection *request)` from the component as its handler. If
// it returns false, `errno` is the error of the request. A handler uses this once, or that of
// stream_files.h, or defines the three functions of stream_handler.h.
#define SS_EXPORT(handle) SS_EXPORT_(ss_connection, ss_request, true, handle(&ss_request), true)
#else
#define SS_EXPORT(handle) \
  _Static_assert(0, "a handler that includes datagram.h is one of datagrams: include both.h first to serve connections, too");
#endif

#endif
