// Sockets that a handler opens, in the manner of socketserver.h: the functions of Python's
// `socket` that reach beyond the request, and `select`.
//
// The operator grants addresses with --connect, --listen-grant, --resolve and --raw.
// Everything else fails with EACCES, and the log of the host names the option that would
// permit it. A handler imports the interface `network` only if it calls a function here.
#ifndef SOCKETSERVER_NETWORK_H
#define SOCKETSERVER_NETWORK_H

#include "socketserver.h"

// Closes a socket and gives its place back: no function may be called with it afterwards.
static inline void ss_drop(ss_socket socket) { socketserver_handler_sockets_socket_drop_own(socket); }

// Finds an address family in the order of the contract.
static inline bool ss_family_to(int family, uint8_t *to) {
  *to = family == SS_AF_INET ? SOCKETSERVER_HANDLER_TYPES_FAMILY_AF_INET
      : family == SS_AF_INET6 ? SOCKETSERVER_HANDLER_TYPES_FAMILY_AF_INET6
                              : SOCKETSERVER_HANDLER_TYPES_FAMILY_AF_UNIX;
  return family == SS_AF_INET || family == SS_AF_INET6 || family == SS_AF_UNIX;
}

// Finds a type of sockets in the order of the contract.
static inline bool ss_type_to(int type, uint8_t *to) {
  *to = type == SS_SOCK_STREAM ? SOCKETSERVER_HANDLER_TYPES_SOCKET_KIND_SOCK_STREAM
      : type == SS_SOCK_DGRAM  ? SOCKETSERVER_HANDLER_TYPES_SOCKET_KIND_SOCK_DGRAM
      : type == SS_SOCK_RAW    ? SOCKETSERVER_HANDLER_TYPES_SOCKET_KIND_SOCK_RAW
      : type == SS_SOCK_RDM    ? SOCKETSERVER_HANDLER_TYPES_SOCKET_KIND_SOCK_RDM
                               : SOCKETSERVER_HANDLER_TYPES_SOCKET_KIND_SOCK_SEQPACKET;
  return type >= SS_SOCK_STREAM && type <= SS_SOCK_SEQPACKET;
}

// Opens a socket, such as (SS_AF_INET, SS_SOCK_STREAM, 0). Fails with EACCES if the
// operator granted no such sockets, with EMFILE if the handler has as many as it may, and
// with the errors of socket(2).
static inline int ss_open(int family, int type, int proto, ss_socket *socket) {
  uint8_t of_family, of_type;
  if (!ss_family_to(family, &of_family)) return errno = EAFNOSUPPORT, -1;
  if (!ss_type_to(type, &of_type)) return errno = EINVAL, -1;
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_network_create_socket(of_family, of_type, proto, socket, &error);
  return ss_result(ok, error);
}

// Opens two Unix sockets that are connected to each other.
static inline int ss_socketpair(int type, ss_socket pair[2]) {
  uint8_t of_type;
  if (!ss_type_to(type, &of_type)) return errno = EINVAL, -1;
  socketserver_handler_network_tuple2_own_socket_own_socket_t both;
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_network_socketpair(SOCKETSERVER_HANDLER_TYPES_FAMILY_AF_UNIX, of_type, 0, &both, &error);
  if (ok) pair[0] = both.f0, pair[1] = both.f1;
  return ss_result(ok, error);
}

// Gives the socket a local address. Port 0 stands for any free one.
static inline int ss_bind(ss_socket socket, const ss_address *address) {
  socketserver_handler_types_address_t to = ss_address_lend(address);
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_network_bind(ss_borrow(socket), &to, &error);
  return ss_result(ok, error);
}

// Lets others connect to the socket.
static inline int ss_listen(ss_socket socket, int backlog) {
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_network_listen(ss_borrow(socket), backlog, &error);
  return ss_result(ok, error);
}

// Waits for a connection to a socket that listens. Sets `*connection`, and `*peer` to the
// address of the other end.
static inline int ss_accept(ss_socket socket, ss_socket *connection, ss_address *peer) {
  socketserver_handler_network_tuple2_own_socket_address_t both;
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_network_accept(ss_borrow(socket), &both, &error);
  if (ok) *connection = both.f0, *peer = ss_address_take(&both.f1);
  return ss_result(ok, error);
}

// Connects the socket. Fails with EINPROGRESS if the timeout is 0, and with the errors of
// connect(2).
static inline int ss_connect(ss_socket socket, const ss_address *address) {
  socketserver_handler_types_address_t to = ss_address_lend(address);
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_network_connect(ss_borrow(socket), &to, &error);
  return ss_result(ok, error);
}

// Connects as ss_connect, and returns 0, or the number of the error on Linux, which may
// not be that of `errno` here. Python's `connect_ex`.
static inline int ss_connect_ex(ss_socket socket, const ss_address *address) {
  socketserver_handler_types_address_t to = ss_address_lend(address);
  return socketserver_handler_network_connect_ex(ss_borrow(socket), &to);
}

// One result of ss_getaddrinfo: an address, and the socket for it.
typedef struct {
  int family, type, proto;
  ss_address address;
} ss_addrinfo;

// The errors of ss_getaddrinfo. All but SS_EAI_DENIED are errors of getaddrinfo(3).
enum {
  SS_EAI_DENIED = 1, SS_EAI_AGAIN, SS_EAI_BADFLAGS, SS_EAI_FAIL, SS_EAI_FAMILY, SS_EAI_MEMORY,
  SS_EAI_NONAME, SS_EAI_SERVICE, SS_EAI_SOCKTYPE, SS_EAI_SYSTEM,
};

// Returns the text of an error of ss_getaddrinfo.
static inline const char *ss_gai_strerror(int error) {
  static const char *const texts[] = {
      "permission denied", "temporary failure in name resolution", "bad value for ai_flags",
      "non-recoverable failure in name resolution", "ai_family not supported",
      "memory allocation failure", "name or service not known",
      "service not supported for ai_socktype", "ai_socktype not supported", "system error"};
  return error >= SS_EAI_DENIED && error <= SS_EAI_SYSTEM ? texts[error - 1] : "system error";
}

// Looks up the addresses of a host and a port, which is a decimal number. Each may be NULL.
// `family` and `type` are 0 for any, `flags` is a sum such as SS_AI_PASSIVE. Stores at most
// `room` results in `found`, and their number in `*count`. Returns 0 or one of SS_EAI_*:
// SS_EAI_DENIED for a name that the operator did not grant.
static inline int ss_getaddrinfo(const char *host, const char *port, int family, int type, int proto, int flags, ss_addrinfo *found, size_t room, size_t *count) {
  uint8_t of_family, of_type;
  if (family && !ss_family_to(family, &of_family)) return SS_EAI_FAMILY;
  if (type && !ss_type_to(type, &of_type)) return SS_EAI_SOCKTYPE;
  ss_string name = {(uint8_t *)host, host ? strlen(host) : 0};
  ss_string service = {(uint8_t *)port, port ? strlen(port) : 0};
  socketserver_handler_network_list_address_info_t list;
  socketserver_handler_network_lookup_error_t error;
  if (!socketserver_handler_network_getaddrinfo(host ? &name : NULL, port ? &service : NULL, family ? &of_family : NULL, type ? &of_type : NULL, proto, flags, &list, &error))
    return error + 1;
  static const uint8_t families[] = {SS_AF_INET, SS_AF_INET6, SS_AF_UNIX};
  static const uint8_t types[] = {SS_SOCK_STREAM, SS_SOCK_DGRAM, SS_SOCK_SEQPACKET, SS_SOCK_RDM, SS_SOCK_RAW};
  *count = list.len < room ? list.len : room;
  for (size_t i = 0; i < list.len; i++) {
    ss_address address = ss_address_take(&list.ptr[i].address);
    if (i >= *count) continue;
    found[i].family = families[list.ptr[i].family];
    found[i].type = types[list.ptr[i].socket_type];
    found[i].proto = list.ptr[i].proto;
    found[i].address = address;
  }
  if (list.len) free(list.ptr);
  return 0;
}

// Sets `*address` to the first IPv4 address of a host, with port 0. Returns 0 or one of
// SS_EAI_*.
static inline int ss_gethostbyname(const char *host, ss_address *address) {
  ss_addrinfo found;
  size_t count;
  int error = ss_getaddrinfo(host, NULL, SS_AF_INET, SS_SOCK_STREAM, 0, 0, &found, 1, &count);
  if (!error && !count) error = SS_EAI_NONAME;
  if (!error) *address = found.address;
  return error;
}

// Connects to a host and a port over TCP: looks the host up, and tries each of its first
// eight addresses until one answers. Each attempt has `timeout` seconds, or none below 0,
// which is the timeout of the socket then. `source` is the local address, or NULL. Fails
// with the error of the last attempt. A failed lookup is EACCES if it was denied, and
// otherwise EHOSTUNREACH: ss_getaddrinfo tells more.
static inline int ss_create_connection(const char *host, uint16_t port, double timeout, const ss_address *source, ss_socket *socket) {
  char digits[6] = {0};
  size_t start = sizeof digits - 1;
  do digits[start -= 1] = (char)('0' + port % 10); while (port /= 10);
  ss_addrinfo found[8];
  size_t count = 0;
  int denied = ss_getaddrinfo(host, digits + start, 0, SS_SOCK_STREAM, 0, 0, found, 8, &count);
  int last = denied == SS_EAI_DENIED ? EACCES : EHOSTUNREACH;
  for (size_t i = 0; i < count; i++) {
    ss_socket one;
    if (ss_open(found[i].family, found[i].type, found[i].proto, &one) == 0) {
      if (ss_settimeout(one, timeout) == 0 && (!source || ss_bind(one, source) == 0) && ss_connect(one, &found[i].address) == 0)
        return *socket = one, 0;
      last = errno;
      ss_drop(one);
    } else {
      last = errno;
    }
  }
  return errno = last, -1;
}

// A socket for ss_select: what to wait for, and after the call, what is ready.
typedef struct {
  ss_socket socket;
  bool readable, writable, exceptional;
} ss_ready;

// Waits until one of `count` sockets is ready, or until `timeout` seconds are over; below 0
// it waits as long as the request may. Clears what is not ready, and returns the number of
// sockets of which something is. The request socket may be one of them. Fails with EBADF
// for a closed socket, with EOPNOTSUPP for the socket of a datagram request, and with
// ENOMEM.
static inline int ss_select(ss_ready *sockets, size_t count, double timeout) {
  // Three lists of handles, and the places of their sockets.
  size_t size = count ? count : 1;
  socketserver_handler_network_borrow_socket_t *handles = calloc(3 * size, sizeof *handles);
  size_t *places = calloc(3 * size, sizeof *places);
  socketserver_handler_network_list_borrow_socket_t lists[3];
  int ready = 0;
  if (!handles || !places) {
    free(handles), free(places);
    return errno = ENOMEM, -1;
  }
  for (size_t list = 0; list < 3; list++) {
    lists[list].ptr = handles + list * size, lists[list].len = 0;
    for (size_t i = 0; i < count; i++) {
      bool wanted = list == 0 ? sockets[i].readable : list == 1 ? sockets[i].writable : sockets[i].exceptional;
      if (!wanted) continue;
      places[list * size + lists[list].len] = i;
      lists[list].ptr[lists[list].len++] = ss_borrow(sockets[i].socket);
    }
  }
  socketserver_handler_network_ready_t found;
  socketserver_handler_types_error_code_t error;
  bool ok = socketserver_handler_network_select(&lists[0], &lists[1], &lists[2], timeout < 0 ? NULL : &timeout, &found, &error);
  if (ok) {
    for (size_t i = 0; i < count; i++) sockets[i].readable = sockets[i].writable = sockets[i].exceptional = false;
    for (size_t i = 0; i < found.readers.len; i++) sockets[places[found.readers.ptr[i]]].readable = true;
    for (size_t i = 0; i < found.writers.len; i++) sockets[places[size + found.writers.ptr[i]]].writable = true;
    for (size_t i = 0; i < found.exceptional.len; i++) sockets[places[2 * size + found.exceptional.ptr[i]]].exceptional = true;
    for (size_t i = 0; i < count; i++) ready += sockets[i].readable || sockets[i].writable || sockets[i].exceptional;
    socketserver_handler_network_ready_free(&found);
  }
  free(handles), free(places);
  return ss_result(ok, error) < 0 ? -1 : ready;
}

#endif
