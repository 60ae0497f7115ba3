// The handler of Python's documentation: sends the data back, upper-cased.
#include "stream_handler.h"

static socketserver_handler_sockets_own_socket_t request;

// Python's bytes.strip() and bytes.upper() handle ASCII only.
static bool is_space(uint8_t c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static uint8_t upper(uint8_t c) {
  return c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c;
}

static const char *describe(socketserver_handler_types_error_code_t error) {
  switch (error) {
    case SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_TIMED_OUT: return "timed out";
    case SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_CONNECTION_RESET: return "connection reset by peer";
    case SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_BROKEN_PIPE: return "broken pipe";
    default: return "socket error";
  }
}

bool exports_socketserver_handler_stream_request_setup(
    exports_socketserver_handler_stream_request_own_socket_t socket,
    exports_socketserver_handler_stream_request_address_t *client_address,
    stream_handler_string_t *err) {
  (void)err;
  request = socket;
  exports_socketserver_handler_stream_request_address_free(client_address);
  return true;
}

bool exports_socketserver_handler_stream_request_handle(stream_handler_string_t *err) {
  socketserver_handler_sockets_borrow_socket_t socket = socketserver_handler_sockets_borrow_socket(request);
  socketserver_handler_types_error_code_t error;

  stream_handler_list_u8_t received;
  if (!socketserver_handler_sockets_method_socket_recv(socket, 1024, &received, &error)) {
    stream_handler_string_dup(err, describe(error));
    return false;
  }

  stream_handler_list_u8_t data = received;
  while (data.len > 0 && is_space(data.ptr[data.len - 1])) data.len--;
  while (data.len > 0 && is_space(data.ptr[0])) data.ptr++, data.len--;
  for (size_t i = 0; i < data.len; i++) data.ptr[i] = upper(data.ptr[i]);

  bool sent = socketserver_handler_sockets_method_socket_sendall(socket, &data, &error);
  if (!sent) stream_handler_string_dup(err, describe(error));
  stream_handler_list_u8_free(&received);
  return sent;
}

bool exports_socketserver_handler_stream_request_finish(stream_handler_string_t *err) {
  (void)err;
  socketserver_handler_sockets_socket_drop_own(request);
  return true;
}
