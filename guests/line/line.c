// Sends one line back: the handler of CPython's own tests of socketserver.
#include "stream_files.h"

static bool handle(ss_stream_files *request) {
  char *line = NULL;
  size_t room = 0;
  ssize_t size = getline(&line, &room, request->rfile);
  if (size < 0) return !ferror(request->rfile);
  return fwrite(line, 1, (size_t)size, request->wfile) == (size_t)size;
}

SS_EXPORT_STREAM_FILES(handle)
