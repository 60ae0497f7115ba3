// Sends each datagram back; reads and writes it as files.
#include "datagram.h"

static bool handle(ss_datagram_files *request) {
  for (int c; (c = getc(request->rfile)) != EOF;) putc(c, request->wfile);
  return true;
}

SS_EXPORT_DATAGRAM_FILES(handle)
