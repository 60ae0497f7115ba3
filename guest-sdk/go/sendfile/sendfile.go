// Package sendfile sends files of granted directories (--dir): the kernel sends them, and no
// byte passes through the handler.
//
// A component imports the interface sendfile of the contract, and files of WASI in the
// contract's version, only if it uses this package.
package sendfile

import (
	"io/fs"
	"math"
	"strings"
	"syscall"

	"socketserver"
	"socketserver/bindings/socketserver_handler_sendfile"
	"socketserver/bindings/wasi_filesystem_preopens"
	"socketserver/bindings/wasi_filesystem_types"

)

// File is a file of a granted directory, open for reading. An os.File is another type,
// because a program cannot learn which file of the contract it stands for.
type File struct {
	binding *wasi_filesystem_types.Descriptor
	path    string
}

// Open opens a file. The path begins with the name of a granted directory, such as
// /srv/index.html with `--dir /var/www::/srv:ro`. A directory is opened, too. The error is an
// *fs.PathError.
func Open(path string) (*File, error) {
	var errno syscall.Errno = syscall.ENOENT
	directories := socketserver.Pinned(wasi_filesystem_preopens.GetDirectories)
	for _, directory := range directories {
		name, ok := within(path, directory.F1)
		if !ok {
			continue
		}
		result := directory.F0.OpenAt(wasi_filesystem_types.PathFlagsSymlinkFollow, name, 0, wasi_filesystem_types.DescriptorFlagsRead)
		if result.IsOk() {
			return &File{result.Ok(), path}, nil
		}
		errno = toErrno(result.Err())
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: errno}
}

// within returns the rest of a path after the name of a directory.
func within(path, directory string) (string, bool) {
	directory = strings.TrimRight(directory, "/")
	if directory == "." && !strings.HasPrefix(path, "/") {
		return path, true
	}
	rest, ok := strings.CutPrefix(path, directory)
	if !ok {
		return "", false
	}
	return strings.CutPrefix(rest, "/")
}

// Size returns the size of the file in bytes. A directory is EISDIR.
func (f *File) Size() (int64, error) {
	facts := f.binding.Stat()
	if facts.IsErr() {
		return 0, &fs.PathError{Op: "stat", Path: f.path, Err: toErrno(facts.Err())}
	}
	if facts.Ok().Type == wasi_filesystem_types.DescriptorTypeDirectory {
		return 0, &fs.PathError{Op: "stat", Path: f.path, Err: syscall.EISDIR}
	}
	return int64(min(facts.Ok().Size, math.MaxInt64)), nil
}

// Close closes the file: no method may be called afterwards. A file that the garbage collector
// finds is closed too.
func (f *File) Close() error {
	f.binding.Drop()
	return nil
}

// ToEnd is the count of [Sendfile] for all bytes to the end of the file.
const ToEnd int64 = -1

// Sendfile sends a file from offset on, until its end or for count bytes, and returns the
// number of bytes sent. The timeout of the socket applies to each wait. A directory or a
// negative offset is EINVAL. After an error the number of bytes sent is unknown. Python's
// sendfile(file, offset, count).
func Sendfile(socket *socketserver.Socket, file *File, offset, count int64) (int64, error) {
	if offset < 0 {
		return 0, syscall.EINVAL
	}
	most := uint64(math.MaxUint64)
	if count >= 0 {
		most = uint64(count)
	}
	for sent := uint64(0); ; {
		more, err := socketserver.Value(socketserver_handler_sendfile.Sendfile(
			socket.Binding(), file.binding, uint64(offset)+sent, most-sent))
		if err != nil || more == 0 {
			return int64(sent), err
		}
		sent += more
	}
}

// toErrno returns the number of an error of a file.
func toErrno(error wasi_filesystem_types.ErrorCode) syscall.Errno {
	switch error {
	case wasi_filesystem_types.ErrorCodeNoEntry:
		return syscall.ENOENT
	case wasi_filesystem_types.ErrorCodeAccess:
		return syscall.EACCES
	case wasi_filesystem_types.ErrorCodeNotPermitted:
		return syscall.EPERM
	case wasi_filesystem_types.ErrorCodeNotDirectory:
		return syscall.ENOTDIR
	case wasi_filesystem_types.ErrorCodeIsDirectory:
		return syscall.EISDIR
	case wasi_filesystem_types.ErrorCodeInvalid:
		return syscall.EINVAL
	case wasi_filesystem_types.ErrorCodeLoop:
		return syscall.ELOOP
	case wasi_filesystem_types.ErrorCodeNameTooLong:
		return syscall.ENAMETOOLONG
	case wasi_filesystem_types.ErrorCodeInsufficientMemory:
		return syscall.ENOMEM
	}
	return syscall.EIO
}

