package socketserver

import "socketserver/bindings/socketserver_handler_types"

// Error is the error of a failed call on a [Socket]: one of the constants ErrorCode*
// of the package socketserver/bindings/socketserver_handler_types.
type Error socketserver_handler_types.ErrorCode

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
