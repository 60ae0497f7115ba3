// Sends all data back until the client has finished sending.
#include "socketserver.h"

static bool handle(ss_connection *request) {
  char data[65536];
  ssize_t count;
  while ((count = ss_recv(request->socket, data, sizeof data, 0)) > 0)
    if (ss_sendall(request->socket, data, (size_t)count, 0) < 0) return false;
  return count == 0;
}

SS_EXPORT(handle)
