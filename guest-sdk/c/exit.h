// What a C program does when `main` returns is done at the end of a request:
// functions of `atexit` and destructors of static objects run, and the buffers
// of stdio are written. That is after `finish`, and after a `setup` that fails,
// behind which there is no `finish`.
//
// The bindings include this file: they call the two through these macros.
#ifndef SOCKETSERVER_EXIT_H
#define SOCKETSERVER_EXIT_H

#include <stdbool.h>

// What `exit` of wasi-libc does before it ends the process. It is there in every
// guest, and does nothing, and imports nothing, in one without stdio.
void __wasm_call_dtors(void);

static inline bool socketserver_exit(bool ok) {
  __wasm_call_dtors();
  return ok;
}

#define exports_socketserver_handler_stream_request_setup(...) \
  (exports_socketserver_handler_stream_request_setup(__VA_ARGS__) || socketserver_exit(false))
#define exports_socketserver_handler_stream_request_finish(err) \
  socketserver_exit(exports_socketserver_handler_stream_request_finish(err))

#define exports_socketserver_handler_datagram_request_setup(...) \
  (exports_socketserver_handler_datagram_request_setup(__VA_ARGS__) || socketserver_exit(false))
#define exports_socketserver_handler_datagram_request_finish(err) \
  socketserver_exit(exports_socketserver_handler_datagram_request_finish(err))

#endif
