// The address of one end of a socket.
#pragma once

#include "bindings.h"
#include "constants.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace socketserver {

// An address: (host, port) for IP, or the name of a Unix socket.
struct Address {
  // SS_AF_INET, SS_AF_INET6 or SS_AF_UNIX.
  int family = SS_AF_UNIX;
  // 4 bytes for IPv4, 16 for IPv6, first to last.
  std::array<uint8_t, 16> host{};
  uint16_t port = 0;
  uint32_t flowinfo = 0;
  uint32_t scope_id = 0;
  // The name of a Unix socket: a path, or after a zero byte an abstract name. It is empty for a
  // socket without a name.
  std::string path{};

  bool operator==(const Address &) const = default;

  static Address ipv4(std::array<uint8_t, 4> host, uint16_t port) {
    Address address{.family = SS_AF_INET, .port = port};
    for (size_t i = 0; i < host.size(); i++) address.host[i] = host[i];
    return address;
  }

  static Address ipv6(std::array<uint8_t, 16> host, uint16_t port) {
    return {.family = SS_AF_INET6, .host = host, .port = port};
  }

  // `path` is a path, or after a zero byte an abstract name.
  static Address unix_path(std::string path) { return {.path = std::move(path)}; }

  // Returns HOST:PORT, [HOST]:PORT, a path, or an abstract name after an @.
  std::string text() const {
    if (family == SS_AF_UNIX) return path.starts_with('\0') ? "@" + path.substr(1) : path;
    auto host = host_text();
    return (family == SS_AF_INET6 ? "[" + host + "]:" : host + ":") + std::to_string(port);
  }

  // Returns the host as Python writes it, such as 127.0.0.1 or ::1.
  std::string host_text() const {
    std::string text;
    if (family == SS_AF_INET) {
      for (size_t i = 0; i < 4; i++) text += (i ? "." : "") + std::to_string(host[i]);
      return text;
    }
    auto group = [this](size_t i) { return unsigned(host[2 * i] << 8 | host[2 * i + 1]); };
    // The longest run of two or more groups of zeros, the first of the longest.
    size_t start = 8, length = 1;
    for (size_t i = 0; i < 8; i++) {
      size_t end = i;
      while (end < 8 && group(end) == 0) end++;
      if (end - i > length) start = i, length = end - i;
    }
    for (size_t i = 0; i < 8; i++) {
      if (i == start) {
        text += "::";
        i += length - 1;
        continue;
      }
      if (!text.empty() && !text.ends_with(':')) text += ':';
      bool leading = true;
      for (int shift = 12; shift >= 0; shift -= 4) {
        unsigned digit = group(i) >> shift & 0xf;
        if (leading && digit == 0 && shift) continue;
        leading = false;
        text += "0123456789abcdef"[digit];
      }
    }
    return text;
  }

  // Converts an address of the C bindings, and frees it.
  static Address take(socketserver_handler_types_address_t &from) {
    Address to;
    if (from.tag == SOCKETSERVER_HANDLER_TYPES_ADDRESS_IPV4) {
      const auto &[a, b, c, d] = from.val.ipv4.host;
      to = ipv4({a, b, c, d}, from.val.ipv4.port);
    } else if (from.tag == SOCKETSERVER_HANDLER_TYPES_ADDRESS_IPV6) {
      const auto &[a, b, c, d, e, f, g, h] = from.val.ipv6.host;
      const std::array<uint16_t, 8> groups{a, b, c, d, e, f, g, h};
      to = {.family = SS_AF_INET6, .port = from.val.ipv6.port};
      for (size_t i = 0; i < 8; i++) to.host[2 * i] = groups[i] >> 8, to.host[2 * i + 1] = groups[i] & 0xff;
      to.flowinfo = from.val.ipv6.flowinfo;
      to.scope_id = from.val.ipv6.scope_id;
    } else if (const auto &name = from.val.unix; name.tag != SOCKETSERVER_HANDLER_TYPES_UNIX_ADDRESS_UNNAMED) {
      if (name.tag == SOCKETSERVER_HANDLER_TYPES_UNIX_ADDRESS_ABSTRACT) to.path += '\0';
      to.path.append(reinterpret_cast<const char *>(name.val.pathname.ptr), name.val.pathname.len);
    }
    socketserver_handler_types_address_free(&from);
    return to;
  }

  // Returns the address of the C bindings, which refers to this one. It is not to be freed.
  socketserver_handler_types_address_t lend() const {
    socketserver_handler_types_address_t to{};
    if (family == SS_AF_INET) {
      to.tag = SOCKETSERVER_HANDLER_TYPES_ADDRESS_IPV4;
      to.val.ipv4 = {{host[0], host[1], host[2], host[3]}, port};
    } else if (family == SS_AF_INET6) {
      to.tag = SOCKETSERVER_HANDLER_TYPES_ADDRESS_IPV6;
      auto group = [this](size_t i) { return uint16_t(host[2 * i] << 8 | host[2 * i + 1]); };
      to.val.ipv6 = {{group(0), group(1), group(2), group(3), group(4), group(5), group(6), group(7)},
                     port, flowinfo, scope_id};
    } else {
      to.tag = SOCKETSERVER_HANDLER_TYPES_ADDRESS_UNIX;
      bool abstract = path.starts_with('\0');
      to.val.unix.tag = path.empty() ? SOCKETSERVER_HANDLER_TYPES_UNIX_ADDRESS_UNNAMED
                        : abstract   ? SOCKETSERVER_HANDLER_TYPES_UNIX_ADDRESS_ABSTRACT
                                     : SOCKETSERVER_HANDLER_TYPES_UNIX_ADDRESS_PATHNAME;
      auto *name = reinterpret_cast<uint8_t *>(const_cast<char *>(path.data()));
      to.val.unix.val.pathname = {name + abstract, path.size() - abstract};
    }
    return to;
  }
};

}  // namespace socketserver
