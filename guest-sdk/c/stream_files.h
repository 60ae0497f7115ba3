// Handlers that read and write a connection as files of <stdio.h>, in the manner of
// socketserver.h. Include this header before <stdio.h>.
//
// A handler is a function `bool handle(ss_stream_files *request)` after SS_EXPORT_STREAM_FILES,
// which is Python's StreamRequestHandler. If it returns false, `errno` is the error of the request.
#ifndef SOCKETSERVER_STREAM_FILES_H
#define SOCKETSERVER_STREAM_FILES_H

// For fopencookie.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>

#include "socketserver.h"

// A connection as files.
typedef struct {
  ss_connection connection;
  // Reads the connection. The client decides how long a line is: `fgets` reads at most a number of
  // bytes, and `getline` allocates as many as come.
  FILE *rfile;
  // Writes to the connection at once. `setvbuf(wfile, buffer, _IOFBF, size)` gives it a buffer,
  // which fflush sends, and the end of the request. The handler may close it.
  FILE *wfile;
  // For the functions below.
  bool is_open, timed_out;
} ss_stream_files;

// Receives for `rfile`. After a timeout it fails, as in Python, because data may have been lost.
static inline ssize_t ss_stream_read(void *files, char *buffer, size_t size) {
  ss_stream_files *request = (ss_stream_files *)files;
  if (request->timed_out) return errno = ETIMEDOUT, -1;
  ssize_t count = ss_recv(request->connection.socket, buffer, size, 0);
  request->timed_out = count < 0 && errno == ETIMEDOUT;
  return count;
}

// Sends for `wfile`. The library ends a flush with a write of nothing.
static inline ssize_t ss_stream_write(void *files, const char *data, size_t size) {
  if (size == 0) return 0;
  ss_stream_files *request = (ss_stream_files *)files;
  return ss_sendall(request->connection.socket, data, size, 0) < 0 ? -1 : (ssize_t)size;
}

static inline int ss_stream_closed(void *files) {
  ((ss_stream_files *)files)->is_open = false;
  return 0;
}

// Opens the files of a request.
static inline bool ss_stream_open(ss_stream_files *request) {
  cookie_io_functions_t reader = {.read = ss_stream_read};
  cookie_io_functions_t writer = {.write = ss_stream_write, .close = ss_stream_closed};
  request->rfile = fopencookie(request, "r", reader);
  request->wfile = fopencookie(request, "w", writer);
  if (!request->rfile || !request->wfile) return false;
  request->is_open = true;
  return setvbuf(request->wfile, NULL, _IONBF, 0) == 0;
}

// Sends what is left in the buffer, unless the handler has closed the file.
static inline bool ss_stream_flush(ss_stream_files *request) {
  return !request->is_open || fflush(request->wfile) == 0;
}

// Exports a function from the component as its handler. A handler uses this once.
#define SS_EXPORT_STREAM_FILES(handle) \
  SS_EXPORT_(ss_stream_files, ss_request.connection, ss_stream_open(&ss_request), handle(&ss_request), ss_stream_flush(&ss_request))

#endif
