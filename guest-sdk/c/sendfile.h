// Files of granted directories (--dir), which the kernel sends: no byte passes through the
// handler. A handler imports the interface `sendfile` and files of WASI only if it calls a
// function here.
//
// A file is opened by its path: the descriptor of a file that `open` or `fopen` returned has
// no place in the contract.
#ifndef SOCKETSERVER_SENDFILE_H
#define SOCKETSERVER_SENDFILE_H

#include "socketserver.h"

// A file that is open for reading.
typedef wasi_filesystem_types_own_descriptor_t ss_file;

// The `count` of ss_sendfile for all bytes to the end of the file.
#define SS_TO_END UINT64_MAX

// Sets `errno` for an error of a file. Returns -1.
static inline int ss_file_error(wasi_filesystem_types_error_code_t error) {
  switch (error) {
    case WASI_FILESYSTEM_TYPES_ERROR_CODE_NO_ENTRY: errno = ENOENT; break;
    case WASI_FILESYSTEM_TYPES_ERROR_CODE_ACCESS: errno = EACCES; break;
    case WASI_FILESYSTEM_TYPES_ERROR_CODE_NOT_PERMITTED: errno = EPERM; break;
    case WASI_FILESYSTEM_TYPES_ERROR_CODE_NOT_DIRECTORY: errno = ENOTDIR; break;
    case WASI_FILESYSTEM_TYPES_ERROR_CODE_IS_DIRECTORY: errno = EISDIR; break;
    case WASI_FILESYSTEM_TYPES_ERROR_CODE_INVALID: errno = EINVAL; break;
    case WASI_FILESYSTEM_TYPES_ERROR_CODE_LOOP: errno = ELOOP; break;
    case WASI_FILESYSTEM_TYPES_ERROR_CODE_NAME_TOO_LONG: errno = ENAMETOOLONG; break;
    case WASI_FILESYSTEM_TYPES_ERROR_CODE_INSUFFICIENT_MEMORY: errno = ENOMEM; break;
    default: errno = EIO;
  }
  return -1;
}

// Returns the rest of a path after the name of a directory, or NULL if it is not in it.
static inline const char *ss_path_within(const char *path, const char *directory, size_t length) {
  while (length > 0 && directory[length - 1] == '/') length--;
  if (length == 1 && directory[0] == '.' && path[0] != '/') return path;
  if (strncmp(path, directory, length) != 0 || path[length] != '/') return NULL;
  return path + length + 1;
}

// Opens a file for ss_sendfile. The path begins with the name of a granted directory, such as
// /srv/index.html with `--dir /var/www::/srv:ro`. Fails with ENOENT if no granted directory has
// the file, and with ENOMEM if the handlers of the server have as many files open as they may.
static inline int ss_file_open(const char *path, ss_file *file) {
  wasi_filesystem_preopens_list_tuple2_own_descriptor_string_t all;
  wasi_filesystem_preopens_get_directories(&all);
  bool is_open = false;
  errno = ENOENT;
  for (size_t i = 0; i < all.len; i++) {
    const char *rest = ss_path_within(path, (const char *)all.ptr[i].f1.ptr, all.ptr[i].f1.len);
    if (!is_open && rest) {
      ss_string name = {(uint8_t *)rest, strlen(rest)};
      wasi_filesystem_types_error_code_t error;
      is_open = wasi_filesystem_types_method_descriptor_open_at(
          wasi_filesystem_types_borrow_descriptor(all.ptr[i].f0), WASI_FILESYSTEM_TYPES_PATH_FLAGS_SYMLINK_FOLLOW,
          &name, 0, WASI_FILESYSTEM_TYPES_DESCRIPTOR_FLAGS_READ, file, &error);
      if (!is_open) ss_file_error(error);
    }
  }
  wasi_filesystem_preopens_list_tuple2_own_descriptor_string_free(&all);
  return is_open ? 0 : -1;
}

// Closes a file: no function may be called with it afterwards.
static inline void ss_file_close(ss_file file) { wasi_filesystem_types_descriptor_drop_own(file); }

// Sets `*size` to the size of a file in bytes. Fails with EISDIR for a directory, which
// ss_file_open opens too.
static inline int ss_file_size(ss_file file, uint64_t *size) {
  wasi_filesystem_types_descriptor_stat_t facts;
  wasi_filesystem_types_error_code_t error;
  if (!wasi_filesystem_types_method_descriptor_stat(wasi_filesystem_types_borrow_descriptor(file), &facts, &error)) return ss_file_error(error);
  if (facts.type == WASI_FILESYSTEM_TYPES_DESCRIPTOR_TYPE_DIRECTORY) return errno = EISDIR, -1;
  *size = facts.size;
  return 0;
}

// Sends a file from `offset` on, until its end or for `count` bytes, and returns the number of
// bytes sent. The timeout applies to each wait. Fails with EINVAL for a directory, and with the
// errors of ss_send; the number of bytes sent is then unknown. Python's `sendfile`.
static inline int64_t ss_sendfile(ss_socket socket, ss_file file, uint64_t offset, uint64_t count) {
  uint64_t sent = 0, more = 0;
  do {
    socketserver_handler_types_error_code_t error;
    uint64_t from = offset <= UINT64_MAX - sent ? offset + sent : UINT64_MAX;
    bool ok = socketserver_handler_sendfile_sendfile(ss_borrow(socket), wasi_filesystem_types_borrow_descriptor(file), from, count - sent, &more, &error);
    if (ss_result(ok, error) < 0) return -1;
    sent += more;
  } while (more > 0);
  return (int64_t)sent;
}

#endif
