// Sockets that a handler opens: the functions of Python's `socket` that reach beyond the
// request, and `select`.
//
// The operator grants addresses with --connect, --listen-grant, --resolve and --raw.
// Everything else fails with "permission denied", and the log of the host names the option
// that would permit it. A handler imports the interface `network` only if it calls a
// function here.
#pragma once

#include "socketserver.hpp"

#include <cstdlib>
#include <vector>

namespace socketserver::network {

// A socket that a handler opened. It has all functions of the request socket too. The
// object closes it when it is destroyed.
class Socket : public socketserver::Socket {
 public:
  explicit Socket(socketserver_handler_sockets_own_socket_t handle) { own = handle; }
  Socket(Socket &&other) noexcept { own = std::exchange(other.own, {}); }
  Socket &operator=(Socket &&other) noexcept {
    std::swap(own, other.own);
    return *this;
  }
  ~Socket() {
    if (own.__handle) socketserver_handler_sockets_socket_drop_own(own);
  }

  // Opens a socket, such as (SS_AF_INET, SS_SOCK_STREAM). Python's `socket()`.
  static Result<Socket> open(int family, int type, int proto = 0) {
    auto of_family = family_to(family);
    if (!of_family) return fail(SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_ADDRESS_FAMILY_NOT_SUPPORTED);
    auto of_type = type_to(type);
    if (!of_type) return fail(SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_INVALID_ARGUMENT);
    socketserver_handler_sockets_own_socket_t handle;
    Code error;
    if (!socketserver_handler_network_create_socket(*of_family, *of_type, proto, &handle, &error)) return fail(error);
    return Socket(handle);
  }

  // Opens two Unix sockets that are connected to each other. Python's `socketpair()`.
  static Result<std::pair<Socket, Socket>> pair(int type = SS_SOCK_STREAM) {
    auto of_type = type_to(type);
    if (!of_type) return fail(SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_INVALID_ARGUMENT);
    socketserver_handler_network_tuple2_own_socket_own_socket_t both;
    Code error;
    if (!socketserver_handler_network_socketpair(SOCKETSERVER_HANDLER_TYPES_FAMILY_AF_UNIX, *of_type, 0, &both, &error)) return fail(error);
    return std::pair(Socket(both.f0), Socket(both.f1));
  }

  // Gives the socket a local address. Port 0 stands for any free one.
  Result<> bind(const Address &address) const {
    auto to = address.lend();
    Code error;
    return result(socketserver_handler_network_bind(borrow(), &to, &error), error);
  }

  // Lets others connect to the socket.
  Result<> listen(int backlog) const {
    Code error;
    return result(socketserver_handler_network_listen(borrow(), backlog, &error), error);
  }

  // Waits for a connection to a socket that listens, and returns it with the address of the
  // other end.
  Result<std::pair<Socket, Address>> accept() const {
    socketserver_handler_network_tuple2_own_socket_address_t both;
    Code error;
    if (!socketserver_handler_network_accept(borrow(), &both, &error)) return fail(error);
    return std::pair(Socket(both.f0), Address::take(both.f1));
  }

  // Connects the socket. With a timeout of 0 the error is "operation now in progress". For
  // a name, see `create_connection`.
  Result<> connect(const Address &address) const {
    auto to = address.lend();
    Code error;
    return result(socketserver_handler_network_connect(borrow(), &to, &error), error);
  }

  // Connects as `connect`, and returns 0, or the number of the error on Linux.
  int connect_ex(const Address &address) const {
    auto to = address.lend();
    return socketserver_handler_network_connect_ex(borrow(), &to);
  }

  // Returns a family or a type as the contract has it.
  static std::optional<uint8_t> family_to(int family) { return place(families, family); }
  static std::optional<uint8_t> type_to(int type) { return place(types, type); }

  // In the order of the contract.
  static constexpr std::array<int, 3> families{SS_AF_INET, SS_AF_INET6, SS_AF_UNIX};
  static constexpr std::array<int, 5> types{SS_SOCK_STREAM, SS_SOCK_DGRAM, SS_SOCK_SEQPACKET, SS_SOCK_RDM, SS_SOCK_RAW};

 private:
  template <size_t N>
  static std::optional<uint8_t> place(const std::array<int, N> &all, int one) {
    auto found = std::ranges::find(all, one);
    if (found == all.end()) return {};
    return static_cast<uint8_t>(found - all.begin());
  }
};

// One result of `getaddrinfo`: an address, and the socket for it.
struct AddressInfo {
  int family, type, proto;
  Address address;
};

// Looks up the addresses of a host and a port, which is a decimal number. Each may be
// nothing. `family` and `type` are 0 for any, `flags` is a sum of SS_AI_PASSIVE and
// SS_AI_NUMERICHOST. The error of a name that the operator did not
// grant has the code of "permission denied"; the other errors of lookups have no code.
inline Result<std::vector<AddressInfo>> getaddrinfo(std::optional<std::string_view> host, std::optional<std::string_view> port, int family = 0, int type = 0, int proto = 0, int flags = 0) {
  static constexpr auto texts = std::to_array<const char *>({
      "permission denied", "temporary failure in name resolution", "bad value for ai_flags",
      "non-recoverable failure in name resolution", "ai_family not supported",
      "memory allocation failure", "name or service not known",
      "service not supported for ai_socktype", "ai_socktype not supported", "system error"});
  static_assert(texts.size() == SOCKETSERVER_HANDLER_NETWORK_LOOKUP_ERROR_SYSTEM + 1);
  auto fail = [](socketserver_handler_network_lookup_error_t error) {
    if (error == SOCKETSERVER_HANDLER_NETWORK_LOOKUP_ERROR_DENIED)
      return std::unexpected(Error(SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_DENIED));
    return std::unexpected(Error(std::string(texts[error])));
  };
  auto of_family = Socket::family_to(family), of_type = Socket::type_to(type);
  if (family && !of_family) return fail(SOCKETSERVER_HANDLER_NETWORK_LOOKUP_ERROR_FAMILY);
  if (type && !of_type) return fail(SOCKETSERVER_HANDLER_NETWORK_LOOKUP_ERROR_SOCKTYPE);
  auto string = [](std::string_view text) {
    return ss_string{reinterpret_cast<uint8_t *>(const_cast<char *>(text.data())), text.size()};
  };
  auto name = string(host.value_or("")), service = string(port.value_or(""));
  socketserver_handler_network_list_address_info_t list;
  socketserver_handler_network_lookup_error_t error;
  if (!socketserver_handler_network_getaddrinfo(host ? &name : nullptr, port ? &service : nullptr, of_family ? &*of_family : nullptr, of_type ? &*of_type : nullptr, proto, flags, &list, &error))
    return fail(error);
  std::vector<AddressInfo> found;
  for (auto &one : std::span(list.ptr, list.len))
    found.push_back({Socket::families[one.family], Socket::types[one.socket_type], one.proto, Address::take(one.address)});
  if (list.len) std::free(list.ptr);
  return found;
}

// Returns the first IPv4 address of a host, as text.
inline Result<std::string> gethostbyname(std::string_view host) {
  auto found = getaddrinfo(host, {}, SS_AF_INET, SS_SOCK_STREAM);
  if (!found) return std::unexpected(found.error());
  if (found->empty()) return std::unexpected(Error("name or service not known"));
  return found->front().address.host_text();
}

// Connects to a host and a port over TCP: looks the host up, and tries each of its addresses
// until one answers. Each attempt has the timeout in seconds, which is that of the socket
// then. The local address is `source`, if there is one. The error is that of the last attempt.
inline Result<Socket> create_connection(std::string_view host, uint16_t port, std::optional<double> timeout = {}, const std::optional<Address> &source = {}) {
  auto found = getaddrinfo(host, std::to_string(port), 0, SS_SOCK_STREAM);
  if (!found) return std::unexpected(found.error());
  Error last("name or service not known");
  for (const auto &one : *found) {
    auto socket = Socket::open(one.family, one.type, one.proto);
    if (!socket) {
      last = socket.error();
      continue;
    }
    auto ready = socket->settimeout(timeout);
    if (ready && source) ready = socket->bind(*source);
    if (ready) ready = socket->connect(one.address);
    if (ready) return socket;
    last = ready.error();
  }
  return std::unexpected(last);
}

// The sockets that `select` found to be ready, by their places in its lists.
struct Ready {
  std::vector<size_t> readers, writers, exceptional;
};

// Waits until one of the sockets is ready, or until the timeout in seconds is over: then all
// lists are empty. With nothing it waits as long as the request may. The request socket may
// be one of them.
inline Result<Ready> select(std::span<const socketserver::Socket *const> readers, std::span<const socketserver::Socket *const> writers, std::span<const socketserver::Socket *const> exceptional, std::optional<double> timeout = {}) {
  auto borrow = [](auto sockets) {
    std::vector<socketserver_handler_network_borrow_socket_t> handles;
    for (const auto *socket : sockets) handles.push_back(socket->borrow());
    return handles;
  };
  auto list = [](auto &handles) {
    return socketserver_handler_network_list_borrow_socket_t{handles.data(), handles.size()};
  };
  auto one = borrow(readers), two = borrow(writers), three = borrow(exceptional);
  auto first = list(one), second = list(two), third = list(three);
  socketserver_handler_network_ready_t found;
  socketserver_handler_types_error_code_t error;
  if (!socketserver_handler_network_select(&first, &second, &third, timeout ? &*timeout : nullptr, &found, &error))
    return std::unexpected(Error(error));
  auto places = [](const ss_numbers &list) { return std::vector<size_t>(list.ptr, list.ptr + list.len); };
  Ready ready{places(found.readers), places(found.writers), places(found.exceptional)};
  socketserver_handler_network_ready_free(&found);
  return ready;
}

}  // namespace socketserver::network
