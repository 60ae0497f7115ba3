// Reads and writes its connection as files, in the case that the client names in the first line:
// `files.py` in C.
#include "stream_files.h"

static char buffer[8192];

// Writes what `fread` or `fgets` has read.
static bool bracketed(FILE *wfile, const char *data, size_t size) {
  return fprintf(wfile, "[%.*s]", (int)size, data) >= 0;
}

static bool handle(ss_stream_files *request) {
  FILE *rfile = request->rfile, *wfile = request->wfile;
  ss_socket socket = request->connection.socket;
  char name[20], data[100];
  if (setvbuf(wfile, buffer, _IOFBF, sizeof buffer) != 0) return false;
  if (ss_settimeout(socket, 0.5) < 0) return false;
  if (ss_setsockopt(socket, SS_IPPROTO_TCP, SS_TCP_NODELAY, 1) < 0) return false;
  if (!fgets(name, sizeof name, rfile)) return false;
  name[strcspn(name, "\n")] = 0;

  if (strcmp(name, "limit") == 0) {
    while (fgets(data, 6, rfile))
      if (!bracketed(wfile, data, strlen(data))) return false;
    return !ferror(rfile);
  }
  if (strcmp(name, "read") == 0) {
    bracketed(wfile, data, fread(data, 1, 7, rfile));
    bracketed(wfile, data, fread(data, 1, sizeof data, rfile));
    return !ferror(rfile) && !ferror(wfile);
  }
  if (strcmp(name, "large") == 0) {
    for (int letter = 'a'; letter <= 'j'; letter++)
      for (int i = 0; i < 3000; i++) putc(letter, wfile);
    static char rest[20000];
    memset(rest, 'k', sizeof rest);
    return fwrite(rest, 1, sizeof rest, wfile) == sizeof rest;
  }
  if (strcmp(name, "hold") == 0 || strcmp(name, "flush") == 0) {
    fputs("first\n", wfile);
    if (*name == 'f' && fflush(wfile) != 0) return false;
    if (!fgets(data, sizeof data, rfile) && ferror(rfile)) return false;
    return fputs("second\n", wfile) >= 0;
  }
  if (strcmp(name, "options") == 0) {
    int nodelay = 0;
    if (ss_getsockopt(socket, SS_IPPROTO_TCP, SS_TCP_NODELAY, &nodelay) < 0) return false;
    return fprintf(wfile, "%d %g\n", nodelay, ss_gettimeout(socket)) >= 0;
  }
  if (strcmp(name, "silence") == 0) {
    for (int round = 0; round < 2; round++)
      if (!fgets(data, sizeof data, rfile)) fprintf(wfile, "%s\n", ss_strerror(errno));
    return true;
  }
  if (strcmp(name, "close") == 0) {
    fputs("bye\n", wfile);
    if (fclose(wfile) != 0) return false;
    return fgets(data, sizeof data, rfile) || !ferror(rfile);
  }
  if (strcmp(name, "late") == 0) {
    fputs("ready\n", wfile);
    if (fflush(wfile) != 0) return false;
    return fgets(data, sizeof data, rfile) || fputs("late\n", wfile) >= 0;
  }
  fputs("before\n", wfile);
  errno = EINVAL;
  return false;
}

SS_EXPORT_STREAM_FILES(handle)
