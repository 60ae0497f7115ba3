// The datagram handler of Python's documentation: sends the data back, upper-cased.
#include "datagram.h"

// Python's bytes.strip() and bytes.upper() handle ASCII only.
static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool handle(ss_datagram *request) {
  uint8_t *data = request->data;
  size_t size = request->size;
  while (size > 0 && is_space(data[size - 1])) size--;
  while (size > 0 && is_space(*data)) data++, size--;
  for (size_t i = 0; i < size; i++)
    if (data[i] >= 'a' && data[i] <= 'z') data[i] -= 'a' - 'A';
  return ss_reply(request, data, size) >= 0;
}

SS_EXPORT_DATAGRAM(handle)
