// Ends a request as a C program ends when `main` returns: functions of `atexit`
// and destructors of static objects run, and the buffers of stdio are flushed.
// This happens after `finish`, and after a `setup` that fails, which no `finish`
// follows.
//
// The generated bindings include this file and call `setup` and `finish` through
// the macros below.
#ifndef SOCKETSERVER_EXIT_H
#define SOCKETSERVER_EXIT_H

#include <stdbool.h>

// The function of wasi-libc that `exit` calls before it ends the process. The
// linker defines it in every guest. Without stdio it does nothing and imports
// nothing.
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
