// Facts about the TLS of a connection, with Python's names. A handler imports the interface `tls`
// only if it calls a function here.
//
// All are empty for a connection without TLS, for the socket of a datagram, for a socket that the
// handler opened, and after `close`.
#pragma once

#include "socketserver.hpp"

namespace socketserver {

// The cipher of a connection.
struct Cipher {
  std::string name;       // OpenSSL's name of the cipher suite.
  std::string protocol;   // The version of TLS that defines it, such as TLSv1.3.
  uint32_t secret_bits{};  // The number of secret bits.
};

namespace tls {

// Moves a text out of the bindings.
inline std::string take(ss_string &text) {
  std::string copy(reinterpret_cast<const char *>(text.ptr), text.len);
  ss_string_free(&text);
  return copy;
}

// Returns what a function of the bindings tells about a socket.
inline std::optional<std::string> ask(const Socket &socket, bool (*function)(socketserver_handler_sockets_borrow_socket_t, ss_string *)) {
  ss_string text;
  if (!function(socket.borrow(), &text)) return {};
  return take(text);
}

}  // namespace tls

// Returns the version of TLS, TLSv1.2 or TLSv1.3.
inline std::optional<std::string> version(const Socket &socket) { return tls::ask(socket, socketserver_handler_tls_version); }

// Returns the cipher.
inline std::optional<Cipher> cipher(const Socket &socket) {
  ss_tls_facts facts;
  if (!socketserver_handler_tls_cipher(socket.borrow(), &facts)) return {};
  return Cipher{tls::take(facts.f0), tls::take(facts.f1), facts.f2};
}

// Returns the application protocol (ALPN) that the client and the server agreed upon.
inline std::optional<std::string> selected_alpn_protocol(const Socket &socket) {
  return tls::ask(socket, socketserver_handler_tls_selected_alpn_protocol);
}

// Returns the client's certificate in DER, which the server has verified, if the client showed one.
inline std::optional<std::string> getpeercert(const Socket &socket) {
  ss_bytes data;
  if (!socketserver_handler_tls_getpeercert(socket.borrow(), &data)) return {};
  std::string copy(reinterpret_cast<const char *>(data.ptr), data.len);
  ss_bytes_free(&data);
  return copy;
}

// Returns the name of the server that the client asked for (SNI), in lower case. Any client can ask
// for any name.
inline std::optional<std::string> server_hostname(const Socket &socket) {
  return tls::ask(socket, socketserver_handler_tls_server_hostname);
}

}  // namespace socketserver
