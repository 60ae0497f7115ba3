// The handler of Python's documentation: sends the data back, upper-cased.
#include "socketserver.h"

// Python's bytes.strip() and bytes.upper() handle ASCII only.
static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool handle(ss_connection *request) {
  char buffer[1024], *data = buffer;
  ssize_t size = ss_recv(request->socket, buffer, sizeof buffer, 0);
  if (size < 0) return false;
  while (size > 0 && is_space(data[size - 1])) size--;
  while (size > 0 && is_space(*data)) data++, size--;
  for (ssize_t i = 0; i < size; i++)
    if (data[i] >= 'a' && data[i] <= 'z') data[i] -= 'a' - 'A';
  return ss_sendall(request->socket, data, (size_t)size, 0) == 0;
}

SS_EXPORT(handle)
