// Facts about the TLS of a connection, with Python's names. A handler imports the interface `tls`
// only if it calls a function here.
//
// The functions return 0 if there is nothing to tell: for a connection without TLS, for the socket
// of a datagram, for a socket that the handler opened, and after ss_close.
#ifndef SOCKETSERVER_TLS_H
#define SOCKETSERVER_TLS_H

#include "socketserver.h"

// The size of a buffer for any certificate.
#define SS_MAX_CERTIFICATE 65536

// The cipher of a connection.
typedef struct {
  char name[64];         // OpenSSL's name of the cipher suite.
  char protocol[16];     // The version of TLS that defines it, such as TLSv1.3.
  uint32_t secret_bits;  // The number of secret bits.
} ss_tls_cipher;

// Moves a text to `buffer`, with a zero byte behind it, and returns its length.
static inline ssize_t ss_tls_text(bool is_told, ss_string *text, char *buffer, size_t size) {
  if (size) buffer[0] = 0;
  if (!is_told) return 0;
  size_t length = text->len;
  if (length < size) {
    memcpy(buffer, text->ptr, length);
    buffer[length] = 0;
  }
  ss_string_free(text);
  if (length >= size) return errno = ERANGE, -1;
  return (ssize_t)length;
}

// Writes the version of TLS, TLSv1.2 or TLSv1.3, and returns its length. Fails with ERANGE if the
// buffer is too small, as the next functions do. Python's `version`.
static inline ssize_t ss_version(ss_socket socket, char *buffer, size_t size) {
  ss_string text;
  return ss_tls_text(socketserver_handler_tls_version(ss_borrow(socket), &text), &text, buffer, size);
}

// Writes the cipher, and returns 1. Python's `cipher`.
static inline int ss_cipher(ss_socket socket, ss_tls_cipher *cipher) {
  ss_tls_facts facts;
  memset(cipher, 0, sizeof *cipher);
  if (!socketserver_handler_tls_cipher(ss_borrow(socket), &facts)) return 0;
  cipher->secret_bits = facts.f2;
  ssize_t name = ss_tls_text(true, &facts.f0, cipher->name, sizeof cipher->name);
  ssize_t protocol = ss_tls_text(true, &facts.f1, cipher->protocol, sizeof cipher->protocol);
  return name < 0 || protocol < 0 ? -1 : 1;
}

// Writes the application protocol (ALPN) that the client and the server agreed upon, which has at
// most 255 bytes, and returns its length. Python's `selected_alpn_protocol`.
static inline ssize_t ss_selected_alpn_protocol(ss_socket socket, char *buffer, size_t size) {
  ss_string text;
  return ss_tls_text(socketserver_handler_tls_selected_alpn_protocol(ss_borrow(socket), &text), &text, buffer, size);
}

// Writes the client's certificate in DER, and returns its length, or 0 if the client showed none.
// The server has verified it. Python's `getpeercert(binary_form=True)`.
static inline ssize_t ss_getpeercert(ss_socket socket, void *buffer, size_t size) {
  ss_bytes data;
  if (!socketserver_handler_tls_getpeercert(ss_borrow(socket), &data)) return 0;
  if (data.len <= size) return ss_take(&data, buffer, size);
  ss_bytes_free(&data);
  return errno = ERANGE, -1;
}

// Writes the name of the server that the client asked for (SNI), in lower case, which has at most
// 253 bytes, and returns its length. Any client can ask for any name. Python tells it to
// `sni_callback` only.
static inline ssize_t ss_server_hostname(ss_socket socket, char *buffer, size_t size) {
  ss_string text;
  return ss_tls_text(socketserver_handler_tls_server_hostname(ss_borrow(socket), &text), &text, buffer, size);
}

#endif
