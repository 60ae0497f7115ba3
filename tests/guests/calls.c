// Makes the calls on its socket that the client asks for, a line each, and answers each with
// a line: `ok` and the result as Python prints it, or `err` and the error.
#include "sendfile.h"
#include "socketserver.h"
#include "tls.h"

#include <stdio.h>

// The size of a buffer for a result.
#define RESULT 4100

static ss_socket request;
static ss_address client;

bool exports_socketserver_handler_stream_request_setup(
    exports_socketserver_handler_stream_request_own_socket_t socket,
    exports_socketserver_handler_stream_request_address_t *client_address,
    stream_handler_string_t *err) {
  (void)err;
  request = socket;
  client = ss_address_take(client_address);
  return true;
}

// Receives a line without a timeout. Returns its length, 0 at the end.
static ssize_t command(char *line, size_t size) {
  double timeout = ss_gettimeout(request);
  size_t length = 0;
  ss_settimeout(request, -1);
  while (length + 1 < size && (length == 0 || line[length - 1] != '\n')) {
    ssize_t count = ss_recv(request, line + length, 1, 0);
    if (count <= 0) return count;
    length++;
  }
  line[length] = 0;
  ss_settimeout(request, timeout);
  return (ssize_t)length;
}

static char *put_hex(char *to, const unsigned char *data, size_t size) {
  for (size_t i = 0; i < size; i++) to += sprintf(to, "%02x", data[i]);
  *to = 0;
  return to;
}

// Makes a call, and writes its result. Returns -1 if it failed.
static ssize_t call(const char *line, char *result) {
  char name[32] = "", text[128] = "", bytes[64] = "";
  int a = 0, b = 0, c = 0;
  unsigned char data[2048] = {0};
  ssize_t count = 0;
  int numbers = sscanf(line, "%31s %d %d %d", name, &a, &b, &c) - 1;
  sscanf(line, "%*s %127s", text);
  strcpy(result, "None");
  if (!strcmp(name, "recv")) {
    if ((count = ss_recv(request, data, (size_t)a, b)) >= 0) put_hex(result, data, (size_t)count);
  } else if (!strcmp(name, "peek")) {
    if ((count = ss_recv(request, data, (size_t)a, b)) < 0) return -1;
    char *end = put_hex(result, data, (size_t)count);
    *end++ = ' ';
    if ((count = ss_recv(request, data, 100, 0)) >= 0) put_hex(end, data, (size_t)count);
  } else if (!strcmp(name, "recv_into")) {
    if ((count = ss_recv(request, data, (size_t)a, b)) >= 0) put_hex(result + sprintf(result, "%zd ", count), data, (size_t)a);
  } else if (!strcmp(name, "recvfrom")) {
    ss_address from;
    if ((count = ss_recvfrom(request, data, (size_t)a, b, &from)) >= 0) strcpy(put_hex(result, data, (size_t)count), from.family ? " an address" : " None");
  } else if (!strcmp(name, "send") || !strcmp(name, "sendall")) {
    sscanf(line, "%*s %*s %d", &a);
    if (!strcmp(name, "sendall")) return ss_sendall(request, text, strlen(text), a);
    if ((count = ss_send(request, text, strlen(text), a)) >= 0) sprintf(result, "%zd", count);
  } else if (!strcmp(name, "settimeout")) {
    return ss_settimeout(request, strcmp(text, "None") ? strtod(text, NULL) : -1);
  } else if (!strcmp(name, "gettimeout")) {
    if (ss_gettimeout(request) >= 0) sprintf(result, "%g", ss_gettimeout(request));
  } else if (!strcmp(name, "setblocking")) {
    return ss_settimeout(request, strcmp(text, "True") ? 0 : -1);
  } else if (!strcmp(name, "getblocking")) {
    strcpy(result, ss_gettimeout(request) == 0 ? "False" : "True");
  } else if (!strcmp(name, "getsockopt") && numbers == 3) {
    if ((count = ss_getsockopt_bytes(request, a, b, data, (size_t)c)) >= 0) put_hex(result, data, (size_t)count);
  } else if (!strcmp(name, "getsockopt")) {
    if ((count = ss_getsockopt(request, a, b, &c)) == 0) sprintf(result, "%d", c);
  } else if (!strcmp(name, "setsockopt")) {
    return ss_setsockopt(request, a, b, c);
  } else if (!strcmp(name, "setsockopt_bytes")) {
    size_t size = 0;
    sscanf(line, "%*s %*d %*d x%63s", bytes);
    for (unsigned byte; sscanf(bytes + 2 * size, "%2x", &byte) == 1; size++) data[size] = (unsigned char)byte;
    return ss_setsockopt_bytes(request, a, b, data, size);
  } else if (!strcmp(name, "attributes")) {
    const char *family = ss_family(request) == SS_AF_INET ? "AF_INET" : "another family";
    const char *type = ss_type(request) == SS_SOCK_STREAM ? "SOCK_STREAM" : "another type";
    sprintf(result, "%s %s %d", family, type, ss_proto(request));
  } else if (!strcmp(name, "names")) {
    ss_address peer;
    if ((count = ss_getpeername(request, &peer)) == 0) strcpy(result, memcmp(&peer, &client, sizeof peer) ? "False" : "True");
  } else if (!strcmp(name, "sendfile")) {
    ss_file file;
    sscanf(line, "%*s %*s %d %d", &a, &b);
    if (ss_file_open(text, &file) < 0) return -1;
    int64_t sent = ss_sendfile(request, file, (uint64_t)a, b < 0 ? SS_TO_END : (uint64_t)b);
    ss_file_close(file);
    if (sent < 0) return -1;
    sprintf(result, "%lld", (long long)sent);
  } else if (!strcmp(name, "version")) {
    if ((count = ss_version(request, result, RESULT)) == 0) strcpy(result, "None");
  } else if (!strcmp(name, "cipher")) {
    ss_tls_cipher cipher;
    if ((count = ss_cipher(request, &cipher)) > 0) sprintf(result, "%s %s %u", cipher.name, cipher.protocol, cipher.secret_bits);
  } else if (!strcmp(name, "alpn")) {
    if ((count = ss_selected_alpn_protocol(request, result, RESULT)) == 0) strcpy(result, "None");
  } else if (!strcmp(name, "peercert")) {
    if ((count = ss_getpeercert(request, data, sizeof data)) > 0) put_hex(result, data, (size_t)count);
  } else if (!strcmp(name, "hostname")) {
    if ((count = ss_server_hostname(request, result, RESULT)) == 0) strcpy(result, "None");
  } else if (!strcmp(name, "shutdown")) {
    return ss_shutdown(request, a);
  }
  return count;
}

// Returns the name that the handler in Python gives to `errno`.
static const char *name_of(int error) {
  switch (error) {
    case EAGAIN: return "BlockingIOError";
    case ETIMEDOUT: return "TimeoutError";
    case EINVAL: return "EINVAL";
    case EOPNOTSUPP: return "EOPNOTSUPP";
    case ENOTCONN: return "ENOTCONN";
    case EPIPE: return "EPIPE";
    case EACCES: return "EACCES";
    case ENOENT: return "ENOENT";
    default: return ss_strerror(error);
  }
}

bool exports_socketserver_handler_stream_request_handle(stream_handler_string_t *err) {
  char line[256], result[RESULT], answer[RESULT + 8];
  ssize_t length;
  while ((length = command(line, sizeof line)) > 0) {
    int size = call(line, result) < 0 ? sprintf(answer, "err %s\n", name_of(errno)) : sprintf(answer, "ok %s\n", result);
    if (ss_gettimeout(request) == 0) ss_settimeout(request, -1);
    if (ss_sendall(request, answer, (size_t)size, 0) < 0) return ss_fail(err);
  }
  return length == 0 || ss_fail(err);
}

bool exports_socketserver_handler_stream_request_finish(stream_handler_string_t *err) {
  (void)err;
  return true;
}
