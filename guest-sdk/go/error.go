package socketserver

import (
	"os"
	"syscall"

	"socketserver/bindings/socketserver_handler_types"
)

// Error is the error of a failed call on a [Socket]: one of the constants ErrorCode*
// of the package socketserver/bindings/socketserver_handler_types.
//
// It is a net.Error, and errors.Is compares it with the errors of Go: os.ErrDeadlineExceeded
// for a timeout that is over, net.ErrClosed for a closed socket, fs.ErrPermission for what
// the operator did not grant, and every errno of the package syscall, such as
// syscall.ECONNREFUSED. syscall.EAGAIN stands for a call that would wait.
type Error socketserver_handler_types.ErrorCode

// Is returns true if target is the error of Go that stands for the error.
func (e Error) Is(target error) bool {
	switch socketserver_handler_types.ErrorCode(e) {
	case socketserver_handler_types.ErrorCodeTimedOut:
		return target == os.ErrDeadlineExceeded
	case socketserver_handler_types.ErrorCodeClosed:
		return target == os.ErrClosed || target.Error() == netErrClosed
	}
	return false
}

// netErrClosed is the text of net.ErrClosed: see the package socketserver/netconn for the
// reason why this package does not import net.
const netErrClosed = "use of closed network connection"

// Unwrap returns the [syscall.Errno] of the error, or nil if only the log of the host
// names it.
func (e Error) Unwrap() error {
	if int(e) < len(errnos) {
		return errnos[e]
	}
	return nil
}

// Timeout returns true if the timeout is over, or if it is 0 and the call would wait.
func (e Error) Timeout() bool {
	return e == Error(socketserver_handler_types.ErrorCodeTimedOut) ||
		e == Error(socketserver_handler_types.ErrorCodeWouldBlock)
}

// Temporary returns true if Timeout does.
func (e Error) Temporary() bool { return e.Timeout() }

// Error returns the text of Python's os.strerror in lower case.
func (e Error) Error() string {
	return texts[e]
}

// texts are in the order of error-code in wit/types.wit.
var texts = [socketserver_handler_types.ErrorCodeOther + 1]string{
	"timed out",
	"resource temporarily unavailable",
	"operation now in progress",
	"operation already in progress",
	"bad file descriptor",
	"permission denied",
	"connection reset by peer",
	"software caused connection abort",
	"connection refused",
	"broken pipe",
	"socket is not connected",
	"socket is already connected",
	"address already in use",
	"cannot assign requested address",
	"address family not supported by protocol",
	"destination address required",
	"no route to host",
	"network is unreachable",
	"network is down",
	"message too long",
	"invalid argument",
	"no such file or directory",
	"protocol not available",
	"protocol not supported",
	"protocol wrong type for socket",
	"operation not supported",
	"no buffer space available",
	"cannot allocate memory",
	"too many open files",
	"unexpected error, named in the log of the host",
}

// errnos are in the same order, without the last one.
var errnos = [socketserver_handler_types.ErrorCodeOther]syscall.Errno{
	syscall.ETIMEDOUT,
	syscall.EAGAIN,
	syscall.EINPROGRESS,
	syscall.EALREADY,
	syscall.EBADF,
	syscall.EACCES,
	syscall.ECONNRESET,
	syscall.ECONNABORTED,
	syscall.ECONNREFUSED,
	syscall.EPIPE,
	syscall.ENOTCONN,
	syscall.EISCONN,
	syscall.EADDRINUSE,
	syscall.EADDRNOTAVAIL,
	syscall.EAFNOSUPPORT,
	syscall.EDESTADDRREQ,
	syscall.EHOSTUNREACH,
	syscall.ENETUNREACH,
	syscall.ENETDOWN,
	syscall.EMSGSIZE,
	syscall.EINVAL,
	syscall.ENOENT,
	syscall.ENOPROTOOPT,
	syscall.EPROTONOSUPPORT,
	syscall.EPROTOTYPE,
	syscall.EOPNOTSUPP,
	syscall.ENOBUFS,
	syscall.ENOMEM,
	syscall.EMFILE,
}
