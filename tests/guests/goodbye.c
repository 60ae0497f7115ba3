// Prints in each way that C has, flushes nothing, and prints at exit. The first byte from the
// client selects the end: `s`, `h` and `f` an error of that function, `x` `exit`, `a` `abort`.
// `v` gives standard output a buffer of the handler's.
#include <stdio.h>
#include <stdlib.h>
#include "stream_handler.h"

static socketserver_handler_sockets_own_socket_t request;
static uint8_t ends;
static char buffer[4096];

static void first(void) { fputs("atexit, registered first\nunfin", stdout); }
static void second(void) { puts("atexit, registered second"); }

__attribute__((destructor)) static void destructor(void) { printf("ished"); }

static bool step(uint8_t initial, const char *name, stream_handler_string_t *err) {
  printf("%s\n", name);
  if (ends == initial) stream_handler_string_dup(err, name);
  return ends != initial;
}

bool exports_socketserver_handler_stream_request_setup(
    exports_socketserver_handler_stream_request_own_socket_t socket,
    exports_socketserver_handler_stream_request_address_t *client_address,
    stream_handler_string_t *err) {
  exports_socketserver_handler_stream_request_address_free(client_address);
  request = socket;
  stream_handler_list_u8_t received;
  socketserver_handler_types_error_code_t error;
  if (!socketserver_handler_sockets_method_socket_recv(
          socketserver_handler_sockets_borrow_socket(request), 1, &received, &error)) {
    stream_handler_string_dup(err, "recv");
    return false;
  }
  ends = received.len > 0 ? *received.ptr : 0;
  stream_handler_list_u8_free(&received);
  if (ends == 'v') setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  atexit(first);
  atexit(second);
  return step('s', "setup", err);
}

bool exports_socketserver_handler_stream_request_handle(stream_handler_string_t *err) {
  fputs("half ", stdout);
  putchar('a');
  fwrite(" line\n", 1, 6, stdout);
  fprintf(stderr, "an error\n");
  if (ends == 'x') exit(3);
  if (ends == 'a') abort();
  return step('h', "handle", err);
}

bool exports_socketserver_handler_stream_request_finish(stream_handler_string_t *err) {
  return step('f', "finish", err);
}
