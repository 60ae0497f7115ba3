// Sends each datagram back in upper case.
#include "datagram.h"

static bool handle(ss_datagram *request) {
  uint8_t *data = request->data;
  for (size_t i = 0; i < request->size; i++)
    if (data[i] >= 'a' && data[i] <= 'z') data[i] -= 'a' - 'A';
  return ss_reply(request, data, request->size) >= 0;
}

SS_EXPORT_DATAGRAM(handle)
