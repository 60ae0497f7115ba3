// Files of granted directories (--dir), which the kernel sends: no byte passes through the
// handler. A handler imports the interface `sendfile` and files of WASI only if it calls a
// function here.
//
// A file is opened by its path: a `std::ifstream` or a descriptor has no place in the contract.
#pragma once

#include "socketserver.hpp"

#include <limits>

namespace socketserver {

// A file of a granted directory, open for reading. The object closes it when it is destroyed.
class File {
 public:
  explicit File(wasi_filesystem_types_own_descriptor_t handle) : own(handle) {}
  File(File &&other) noexcept : own(std::exchange(other.own, {})) {}
  File &operator=(File &&other) noexcept {
    std::swap(own, other.own);
    return *this;
  }
  ~File() {
    if (own.__handle) wasi_filesystem_types_descriptor_drop_own(own);
  }

  // Opens a file. The path begins with the name of a granted directory, such as
  // /srv/index.html with `--dir /var/www::/srv:ro`. A directory is opened, too.
  static Result<File> open(std::string_view path) {
    wasi_filesystem_preopens_list_tuple2_own_descriptor_string_t all;
    wasi_filesystem_preopens_get_directories(&all);
    Result<File> file = fail(WASI_FILESYSTEM_TYPES_ERROR_CODE_NO_ENTRY);
    for (const auto &directory : std::span(all.ptr, all.len)) {
      auto name = within(path, {reinterpret_cast<const char *>(directory.f1.ptr), directory.f1.len});
      if (file || !name) continue;
      ss_string rest{reinterpret_cast<uint8_t *>(const_cast<char *>(name->data())), name->size()};
      wasi_filesystem_types_own_descriptor_t handle;
      wasi_filesystem_types_error_code_t error;
      bool ok = wasi_filesystem_types_method_descriptor_open_at(
          wasi_filesystem_types_borrow_descriptor(directory.f0), WASI_FILESYSTEM_TYPES_PATH_FLAGS_SYMLINK_FOLLOW,
          &rest, 0, WASI_FILESYSTEM_TYPES_DESCRIPTOR_FLAGS_READ, &handle, &error);
      if (ok) {
        file = File(handle);
      } else {
        file = fail(error);
      }
    }
    wasi_filesystem_preopens_list_tuple2_own_descriptor_string_free(&all);
    return file;
  }

  // Returns the size in bytes. A directory is an error.
  Result<uint64_t> size() const {
    wasi_filesystem_types_descriptor_stat_t facts;
    wasi_filesystem_types_error_code_t error;
    if (!wasi_filesystem_types_method_descriptor_stat(borrow(), &facts, &error)) return fail(error);
    if (facts.type == WASI_FILESYSTEM_TYPES_DESCRIPTOR_TYPE_DIRECTORY) return fail(WASI_FILESYSTEM_TYPES_ERROR_CODE_IS_DIRECTORY);
    return facts.size;
  }

  // Returns the handle that the functions of the C bindings expect.
  wasi_filesystem_types_borrow_descriptor_t borrow() const { return wasi_filesystem_types_borrow_descriptor(own); }

  wasi_filesystem_types_own_descriptor_t own{};

 private:
  static std::unexpected<Error> fail(wasi_filesystem_types_error_code_t code) {
    switch (code) {
      case WASI_FILESYSTEM_TYPES_ERROR_CODE_NO_ENTRY:
        return std::unexpected(Error(SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_NO_SUCH_FILE));
      case WASI_FILESYSTEM_TYPES_ERROR_CODE_ACCESS:
      case WASI_FILESYSTEM_TYPES_ERROR_CODE_NOT_PERMITTED:
        return std::unexpected(Error(SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_DENIED));
      case WASI_FILESYSTEM_TYPES_ERROR_CODE_INVALID:
        return std::unexpected(Error(SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_INVALID_ARGUMENT));
      case WASI_FILESYSTEM_TYPES_ERROR_CODE_INSUFFICIENT_MEMORY:
        return std::unexpected(Error(SOCKETSERVER_HANDLER_TYPES_ERROR_CODE_NOT_ENOUGH_MEMORY));
      case WASI_FILESYSTEM_TYPES_ERROR_CODE_IS_DIRECTORY:
        return std::unexpected(Error(std::string("is a directory")));
      case WASI_FILESYSTEM_TYPES_ERROR_CODE_NOT_DIRECTORY:
        return std::unexpected(Error(std::string("not a directory")));
      default:
        return std::unexpected(Error(std::string("input/output error")));
    }
  }

  // Returns the rest of a path after the name of a directory, or nothing if it is not in it.
  static std::optional<std::string_view> within(std::string_view path, std::string_view directory) {
    while (directory.ends_with('/')) directory.remove_suffix(1);
    if (directory == "." && !path.starts_with('/')) return path;
    if (!path.starts_with(directory) || !path.substr(directory.size()).starts_with('/')) return {};
    return path.substr(directory.size() + 1);
  }
};

// Sends a file from `offset` on, until its end or for `count` bytes, and returns the number of
// bytes sent. The timeout applies to each wait. A directory is an error. After an error the
// number of bytes sent is unknown.
inline Result<uint64_t> sendfile(const Socket &socket, const File &file, uint64_t offset = 0, std::optional<uint64_t> count = {}) {
  constexpr auto most = std::numeric_limits<uint64_t>::max();
  uint64_t sent = 0, more = 0;
  do {
    socketserver_handler_types_error_code_t error;
    uint64_t from = offset <= most - sent ? offset + sent : most;
    if (!socketserver_handler_sendfile_sendfile(socket.borrow(), file.borrow(), from, count.value_or(most) - sent, &more, &error))
      return std::unexpected(Error(error));
    sent += more;
  } while (more > 0);
  return sent;
}

}  // namespace socketserver
