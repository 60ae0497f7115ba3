// Sends all data back, over TCP and over UDP: two handlers in one component.
#include "both.h"

static bool over_tcp(ss_connection *request) {
  char data[65536];
  ssize_t count;
  while ((count = ss_recv(request->socket, data, sizeof data, 0)) > 0)
    if (ss_sendall(request->socket, data, (size_t)count, 0) < 0) return false;
  return count == 0;
}

static bool over_udp(ss_datagram *request) { return ss_reply(request, request->data, request->size) >= 0; }

SS_EXPORT(over_tcp)
SS_EXPORT_DATAGRAM(over_udp)
