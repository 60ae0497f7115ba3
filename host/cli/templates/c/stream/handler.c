// Receives up to 1024 bytes, and sends them back in upper case.
#include "socketserver.h"

static bool handle(ss_connection *request) {
  char data[1024];
  ssize_t count = ss_recv(request->socket, data, sizeof data, 0);
  if (count < 0) return false;
  while (count > 0 && strchr(" \t\r\n", data[count - 1])) count--;
  for (ssize_t i = 0; i < count; i++)
    if (data[i] >= 'a' && data[i] <= 'z') data[i] -= 'a' - 'A';
  return ss_sendall(request->socket, data, (size_t)count, 0) == 0;
}

SS_EXPORT(handle)
