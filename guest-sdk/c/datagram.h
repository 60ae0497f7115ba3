// Handlers of datagrams in the manner of socketserver.h. Include this header before
// socketserver.h, network.h and sendfile.h. A component that serves connections, too, includes
// both.h before all of them.
//
// A handler is a function: `bool handle(ss_datagram *request)` after SS_EXPORT_DATAGRAM, which
// is Python's BaseRequestHandler, or `bool handle(ss_datagram_files *request)` after
// SS_EXPORT_DATAGRAM_FILES, which is Python's DatagramRequestHandler. If it returns false,
// `errno` is the error of the request.
#ifndef SOCKETSERVER_DATAGRAM_H
#define SOCKETSERVER_DATAGRAM_H

#ifndef SOCKETSERVER_BOTH
#ifdef SOCKETSERVER_H
#error "include datagram.h before socketserver.h, network.h and sendfile.h, or both.h before all of them if the component has a handler of connections, too"
#endif
#define SOCKETSERVER_DATAGRAM
#endif
#include "socketserver.h"

#include <stdio.h>

// A datagram, and the socket to reply on. Python's `self.request` and `self.client_address`.
typedef struct {
  uint8_t *data;
  size_t size;
  // The server's socket. It sends to the client of the request only, and receives nothing.
  ss_socket socket;
  ss_address client_address;
} ss_datagram;

// A datagram and its reply as files. What was written to `wfile` is sent to the client as one
// datagram when the handler has returned, also if it returned false. To send no reply, or
// several, use SS_EXPORT_DATAGRAM.
typedef struct {
  ss_datagram datagram;
  FILE *rfile, *wfile;
  // What was written, after `fflush(wfile)`.
  char *reply;
  size_t reply_size;
} ss_datagram_files;

// Sends a datagram to the client of a request, and returns `size`. Errors are those of
// sendto(2).
static inline ssize_t ss_reply(const ss_datagram *request, const void *data, size_t size) {
  return ss_sendto(request->socket, data, size, 0, &request->client_address);
}

// Takes what the host passes to `setup`.
static inline ss_datagram ss_datagram_take(exports_socketserver_handler_datagram_request_tuple2_list_u8_own_socket_t *request, socketserver_handler_types_address_t *client_address) {
  ss_datagram to = {request->f0.ptr, request->f0.len, request->f1, ss_address_take(client_address)};
  return to;
}

// Opens the files of a request.
static inline bool ss_datagram_open(ss_datagram_files *request) {
  request->rfile = fmemopen(request->datagram.data, request->datagram.size, "r");
  request->wfile = open_memstream(&request->reply, &request->reply_size);
  return request->rfile && request->wfile;
}

// Sends what was written to the files of a request.
static inline bool ss_datagram_flush(ss_datagram_files *request) {
  return fflush(request->wfile) == 0 && ss_reply(&request->datagram, request->reply, request->reply_size) >= 0;
}

#define SS_EXPORT_DATAGRAM_(type, datagram, open, handle, flush)                                                 \
  static type ss_dgram_request;                                                                                  \
  bool exports_socketserver_handler_datagram_request_setup(                                                      \
      exports_socketserver_handler_datagram_request_tuple2_list_u8_own_socket_t *request,                        \
      exports_socketserver_handler_datagram_request_address_t *client_address, ss_string *err) {                 \
    datagram = ss_datagram_take(request, client_address);                                                        \
    return (open) || ss_fail(err);                                                                               \
  }                                                                                                              \
  bool exports_socketserver_handler_datagram_request_handle(ss_string *err) { return (handle) || ss_fail(err); } \
  bool exports_socketserver_handler_datagram_request_finish(ss_string *err) { return (flush) || ss_fail(err); }

// Exports a function from the component as its handler. A handler uses one of the two, once.
#define SS_EXPORT_DATAGRAM(handle) \
  SS_EXPORT_DATAGRAM_(ss_datagram, ss_dgram_request, true, handle(&ss_dgram_request), true)
#define SS_EXPORT_DATAGRAM_FILES(handle)                                                                 \
  SS_EXPORT_DATAGRAM_(ss_datagram_files, ss_dgram_request.datagram, ss_datagram_open(&ss_dgram_request), \
                      handle(&ss_dgram_request), ss_datagram_flush(&ss_dgram_request))

#endif
