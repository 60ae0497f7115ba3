// Does what the lines of its client say with sockets that it opens, and answers each line. A
// new socket takes the place of the last one, which goes on a stack.
#include "network.h"

#include <arpa/inet.h>
#include <stdio.h>

static ss_socket request, sockets[16];
static size_t count;

bool exports_socketserver_handler_stream_request_setup(
    exports_socketserver_handler_stream_request_own_socket_t socket,
    exports_socketserver_handler_stream_request_address_t *client_address,
    stream_handler_string_t *err) {
  (void)err;
  request = socket;
  exports_socketserver_handler_stream_request_address_free(client_address);
  return true;
}

// Receives a line. Returns -1 at the end.
static int command(char *line, size_t size) {
  for (size_t length = 0; length < size; length++) {
    if (ss_recv(request, line + length, 1, 0) <= 0) return -1;
    if (line[length] == '\n') return line[length] = 0;
  }
  return -1;
}

static ss_address address_of(const char *text) {
  ss_address address = {0};
  unsigned host[4], port;
  if (sscanf(text, "%u.%u.%u.%u:%u", &host[0], &host[1], &host[2], &host[3], &port) == 5) {
    address.family = SS_AF_INET;
    for (int i = 0; i < 4; i++) address.host[i] = (uint8_t)host[i];
    address.port = (uint16_t)port;
  } else {
    address.family = SS_AF_UNIX;
    address.path_length = strlen(text);
    memcpy(address.path, text, address.path_length);
    if (*text == '@') address.path[0] = 0;
  }
  return address;
}

static void print(const ss_address *address, char *to) {
  char host[INET6_ADDRSTRLEN] = "";
  bool is_v6 = address->family == SS_AF_INET6;
  inet_ntop(is_v6 ? AF_INET6 : AF_INET, address->host, host, sizeof host);
  sprintf(to, is_v6 ? "[%s]:%d" : "%s:%d", host, address->port);
}

static int family_of(const char *word) {
  return !strcmp(word, "inet") ? SS_AF_INET : !strcmp(word, "inet6") ? SS_AF_INET6 : SS_AF_UNIX;
}

static int type_of(const char *word) {
  return !strcmp(word, "stream")      ? SS_SOCK_STREAM
         : !strcmp(word, "dgram")     ? SS_SOCK_DGRAM
         : !strcmp(word, "seqpacket") ? SS_SOCK_SEQPACKET
                                      : SS_SOCK_RAW;
}

// Writes a list as `[0, 1]`, of the sockets of which `is_in` says true.
static char *list(char *to, const ss_ready *ready, size_t size, size_t member) {
  const char *comma = "";
  to += sprintf(to, "[");
  for (size_t i = 0; i < size; i++) {
    if (!(member == 0 ? ready[i].readable : ready[i].writable)) continue;
    to += sprintf(to, "%s%zu", comma, i);
    comma = ", ";
  }
  return to + sprintf(to, "] ");
}

// Runs a command, and writes the answer. Returns -1 if it failed, and an error of a lookup
// if that failed.
static int run(const char *line, char *answer) {
  char name[32] = "", first[128] = "", second[128] = "";
  sscanf(line, "%31s %127s %127s", name, first, second);
  ss_socket last = count ? sockets[count - 1] : request, other;
  ss_address address;
  ssize_t size;
  strcpy(answer, "ok");
  if (!strcmp(name, "socket")) {
    if (ss_open(family_of(first), type_of(second), 0, &other) < 0) return -1;
    sockets[count++] = other;
  } else if (!strcmp(name, "pair")) {
    if (ss_socketpair(type_of(first), sockets + count) < 0) return -1;
    count += 2;
  } else if (!strcmp(name, "swap")) {
    sockets[count - 1] = sockets[count - 2];
    sockets[count - 2] = last;
  } else if (!strcmp(name, "drop")) {
    count--;
    ss_drop(last);
  } else if (!strcmp(name, "close")) {
    ss_close(last);
  } else if (!strcmp(name, "timeout")) {
    return ss_settimeout(last, strtod(first, NULL));
  } else if (!strcmp(name, "connect")) {
    address = address_of(first);
    return ss_connect(last, &address);
  } else if (!strcmp(name, "connect_ex")) {
    address = address_of(first);
    sprintf(answer, "%d", ss_connect_ex(last, &address));
  } else if (!strcmp(name, "bind")) {
    address = address_of(first);
    return ss_bind(last, &address);
  } else if (!strcmp(name, "listen")) {
    return ss_listen(last, 5);
  } else if (!strcmp(name, "accept")) {
    if (ss_accept(last, &other, &address) < 0) return -1;
    sockets[count++] = other;
    print(&address, answer);
  } else if (!strcmp(name, "name") || !strcmp(name, "peer")) {
    if ((*name == 'n' ? ss_getsockname(last, &address) : ss_getpeername(last, &address)) < 0) return -1;
    print(&address, answer);
  } else if (!strcmp(name, "send")) {
    if ((size = ss_send(last, first, strlen(first), 0)) < 0) return -1;
    sprintf(answer, "%zd", size);
  } else if (!strcmp(name, "sendto")) {
    address = address_of(second);
    if ((size = ss_sendto(last, first, strlen(first), 0, &address)) < 0) return -1;
    sprintf(answer, "%zd", size);
  } else if (!strcmp(name, "recv")) {
    if ((size = ss_recv(last, answer, 512, 0)) < 0) return -1;
    answer[size] = 0;
  } else if (!strcmp(name, "dial")) {
    if (ss_create_connection(first, (uint16_t)atoi(second), 5, NULL, &other) < 0) return -1;
    sockets[count++] = other;
  } else if (!strcmp(name, "lookup")) {
    ss_addrinfo found;
    size_t number;
    int error = ss_getaddrinfo(first, "80", 0, SS_SOCK_STREAM, 0, 0, &found, 1, &number);
    if (error) return error;
    print(&found.address, answer);
  } else if (!strcmp(name, "hostbyname")) {
    int error = ss_gethostbyname(first, &address);
    if (error) return error;
    print(&address, answer);
    *strchr(answer, ':') = 0;
  } else if (!strcmp(name, "select")) {
    ss_ready ready[17] = {0};
    for (size_t i = 0; i < count; i++) ready[i] = (ss_ready){sockets[i], true, true, false};
    ready[count] = (ss_ready){request, false, false, true};
    if (ss_select(ready, count + 1, strtod(first, NULL)) < 0) return -1;
    strcpy(list(list(answer, ready, count, 0), ready, count, 1), ready[count].exceptional ? "[0]" : "[]");
  } else {
    strcpy(answer, "E there is no such command");
  }
  return 0;
}

bool exports_socketserver_handler_stream_request_handle(stream_handler_string_t *err) {
  char line[256], answer[1024];
  while (command(line, sizeof line) == 0) {
    int error = run(line, answer);
    if (error) sprintf(answer, "E %s", error < 0 ? ss_strerror(errno) : ss_gai_strerror(error));
    strcat(answer, "\n");
    if (ss_sendall(request, answer, strlen(answer), 0) < 0) return ss_fail(err);
  }
  return true;
}

bool exports_socketserver_handler_stream_request_finish(stream_handler_string_t *err) {
  (void)err;
  return true;
}
